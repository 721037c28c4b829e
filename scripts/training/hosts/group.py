"""The hosts of a job as one group: what an entry point asks of it, whichever library forms it.

``xgboost_group.py`` forms one with XGBoost's own collective, ``torch_group.py`` one with PyTorch's.
A single host is a group of one, so a script is written once for one host and for many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class Group:
    """One host alone; the groups of several override ``all_gather``.

    Attributes:
        rank: The index of this process in the group, from 0. Rank 0 alone writes the model.
        size: How many processes there are.
        names: What they are called in messages, in the order of their ranks.
    """

    def __init__(self, names: Sequence[str] = ("localhost",), rank: int = 0) -> None:
        self.names = list(names)
        self.rank, self.size = rank, len(self.names)

    def all_gather(self, values: np.ndarray) -> list[np.ndarray]:
        """Return every member's array in the order of their ranks, on every member.

        ``values`` is one-dimensional, of the same type on all, of any length. Every member must
        call it, or the others wait.
        """
        return [values]

    def concatenate(self, values: np.ndarray) -> np.ndarray:
        """Return the values of all members as one array, as ``all_gather`` orders them."""
        import numpy as np

        return np.concatenate(self.all_gather(values)) if self.size > 1 else values
