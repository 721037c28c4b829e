"""Starts AWS's training toolkit as the first process of a container is started.

The kernel keeps from process 1 a signal that it has no handler for. So in AWS's images the toolkit
outlives the SIGTERM of a stop while the learner's script saves, and goes on passing what the script
prints; were it to end first, the script's next `print` would fail. Here the toolkit is no process
1 and must do that itself. Programs that it starts begin with the default again.
"""

import os
import signal

from sagemaker_training import trainer


def main() -> None:
    signal.signal(signal.SIGTERM, stay_for_the_script)
    trainer.train()


def stay_for_the_script(number: int, _frame: object) -> None:
    """Go on while a script runs; before it has started there is nothing to wait for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


if __name__ == "__main__":
    main()
