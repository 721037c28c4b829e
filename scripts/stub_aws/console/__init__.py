"""The console: pages that show a browser what the stub AWS does, and let it stop a job.

It stands beside the API on the same server, reads what AWS's API tells its own user, and keeps
nothing. `web.py` answers requests, `reader.py` asks AWS, `static/` is what the browser runs.
"""

from .reader import RIGHTS, Reader
from .web import Console

__all__ = ["RIGHTS", "Console", "Reader"]
