"""Shows in a browser what the stub AWS does, and lets a person stop a job: the console.

It runs beside the API on the same server, reads what AWS's API answers to its own user, and stores
nothing. `web.py` answers requests, `reader.py` asks AWS, `prices.py` computes what jobs cost,
`static/` is what the browser runs.
"""

from .prices import PriceError, PriceList
from .reader import PERMISSIONS, Reader
from .web import Console

__all__ = ["PERMISSIONS", "Console", "PriceError", "PriceList", "Reader"]
