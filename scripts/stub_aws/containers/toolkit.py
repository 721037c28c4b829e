"""Starts AWS's training toolkit as the first process of a container is started.

The toolkit reports a failure by writing a file, and sets its own exit code only after that. Where a
script takes the file's folder away, or interrupts the toolkit, that would be 0: a failed script is
never a success, so such an end counts as a failure here.

The kernel keeps from process 1 a signal that it has no handler for. So in AWS's images the toolkit
outlives the SIGTERM of a stop while the learner's script saves, and goes on passing what the script
prints; were it to end first, the script's next `print` would fail. Here the toolkit is no process
1 and must do that itself. Programs that it starts begin with the default again.
"""

import os
import signal
import sys
import traceback

import whole_lines
from sagemaker_training import trainer


def main() -> None:
    whole_lines.install()
    # The script gets this path. Its own modules, and those of a PYTHONPATH, come before ours.
    sys.path.append(sys.path.pop(0))
    signal.signal(signal.SIGTERM, stay_for_the_script)
    try:
        trainer.train()
    except SystemExit as end:
        cause = end.__context__  # what was on its way when the toolkit ended with this code
        if cause is None or end.code:
            raise
        if isinstance(cause, SystemExit):  # an algorithm that chose its own exit code
            sys.exit(cause.code)
        traceback.print_exception(cause)
        sys.exit(1)


def stay_for_the_script(number: int, _frame: object) -> None:
    """Go on while a script runs; before it has started there is nothing to wait for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


if __name__ == "__main__":
    main()
