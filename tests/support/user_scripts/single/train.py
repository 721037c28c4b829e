"""One file without a source_dir, which imports what `dependencies=` brings."""

import os
from pathlib import Path

from helpers import answers

Path(os.environ["SM_MODEL_DIR"], "answer").write_text(str(answers.ANSWER))
