"""The hosts of a job as one group: what an entry point asks of it, whichever library forms it.

``collective.py`` forms one with XGBoost's own collective, ``process_group.py`` one with PyTorch's.
A single host is a group of one, so a script is written once for one host and for many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class Group:
    """One host alone; the groups of several override ``gather``.

    Attributes:
        rank: The place of this process in the group, from 0. Rank 0 alone writes the model.
        size: How many processes there are.
    """

    rank = 0
    size = 1

    def gather(self, values: np.ndarray) -> list[np.ndarray]:
        """Every member's array in the order of their ranks, on every member.

        ``values`` is one-dimensional, of the same type on all, of any length. Every member must
        call it, or the others wait.
        """
        return [values]
