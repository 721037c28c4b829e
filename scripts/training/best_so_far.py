"""Save the best model so far while a training runs.

A job that is killed, by a time limit or a lost machine, gets no time to save: SageMaker's toolkit
passes no signal on to a script. But SageMaker packs the model folder however the job ends. So the
entry points replace the model in it whenever they have a better one:

    best = BestSoFar()
    ...                                 # after every round, with the number of the best round:
    best.offer(number, write)           # write() saves that round's model, complete or not at all
"""

from __future__ import annotations

import time
from collections.abc import Callable

# Of the time of a training, saving takes this share at most. So a model of many trees, which takes
# long to write, is written less often.
SHARE = 0.01


class BestSoFar:
    """Remembers which model is saved, and decides when the next one is."""

    def __init__(self) -> None:
        self._saved = 0
        self._not_before = 0.0

    def offer(self, number: int, write: Callable[[], None]) -> None:
        """Call ``write`` if this number is not saved yet and it is time; 0 is none, never saved.

        Offer it after every round, also where it is still the same: a better model for which it was
        too early is saved a little later.
        """
        start = time.monotonic()
        if number == self._saved or start < self._not_before:
            return
        write()
        end = time.monotonic()
        if self._saved:  # the first time also imports and makes what later ones need
            self._not_before = end + (end - start) / SHARE
        self._saved = number
