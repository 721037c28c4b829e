"""The entry point of an installed package."""

import os
import sys
from pathlib import Path

import trains

origin = [__name__, trains.WHO, *sys.argv[1:]]
Path(os.environ["SM_MODEL_DIR"], "told").write_text(" ".join(origin))
