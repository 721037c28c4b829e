"""`python -m stub_aws COMMAND...`: run COMMAND with every AWS call led to a stub AWS.

The stub starts first and ends, with all its jobs, when COMMAND ends; the exit code is COMMAND's.
The address of its console, a page for a browser, is the one line that it prints (to stderr).
`--record FILE` before COMMAND: write at the end what was asked of it (see record.py).
"""

import signal
import subprocess
import sys
import threading
from pathlib import Path

from . import record
from .aws import StubAWS, forget_the_person

PATIENCE_S = 10  # between SIGTERM and SIGKILL


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__, file=sys.stderr)
        return 0 if arguments else 2
    recorded = None
    if arguments[0] == "--record":
        if len(arguments) < 3:
            print("stub AWS: --record wants a file and a command", file=sys.stderr)
            return 2
        recorded, arguments = Path(arguments[1]), arguments[2:]
    # Ctrl-C reaches COMMAND as well, which decides what it means; SIGTERM and SIGHUP end it.
    signal.signal(signal.SIGINT, lambda *_: None)
    forget_the_person()
    with StubAWS() as stub:
        try:
            command = subprocess.Popen(arguments, env=stub.environment)
        except OSError as error:
            print(f"stub AWS: cannot run {arguments[0]}: {error.strerror}", file=sys.stderr)
            return 127
        print(f"stub AWS: its console is at {stub.console_url}", file=sys.stderr, flush=True)
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, lambda *_: end(command))
        code = command.wait()
        if recorded:
            record.write(stub, recorded)
    return code if code >= 0 else 128 - code


def end(command: subprocess.Popen[bytes]) -> None:
    """Ask COMMAND to end, and end it when it does not: JupyterLab may wait for its own threads."""
    command.terminate()
    insist = threading.Timer(PATIENCE_S, command.kill)
    insist.daemon = True
    insist.start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
