"""A scikit-learn model as a joblib file, which is a pickle: written, and opened with care.

**Opening a pickle can run any program that its maker put in it.** So open those of your own jobs,
from your own bucket, and no others. And it is only good for the version of scikit-learn that wrote
it: ``load`` checks that first, and the file's checksum.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import titanic
from record import PARAMETERS_FILE, recorded, saved_file


def dumps(model: Any) -> bytes:
    """Return the content of a model's file."""
    import joblib

    file = io.BytesIO()
    joblib.dump(model, file)
    return file.getvalue()


def checksum(content: bytes) -> str:
    """Return what ``load`` looks for in parameters.json, by the name ``sha256``."""
    return hashlib.sha256(content).hexdigest()


def load(model_dir: str | Path, name: str) -> Any:
    """Open the file of a model that a run has saved into this folder.

    Raises titanic.DataError if there is none, if it is not the file that was saved, or if another
    scikit-learn saved it.
    """
    import joblib
    import sklearn

    path = saved_file(model_dir, name)
    parameters = recorded(model_dir)
    versions = parameters.get("versions", {})
    made, here = versions.get("scikit-learn"), sklearn.__version__
    if made is None:
        raise titanic.DataError(
            f"{path}: {PARAMETERS_FILE} beside it does not say which scikit-learn wrote it, and a "
            "pickle is only good for that one; train again"
        )
    if made != here:
        raise titanic.DataError(
            f"{path}: saved with scikit-learn {made}, and this is {here}; a pickle is only good "
            f"for the version that wrote it, so install scikit-learn=={made} or train again"
        )
    content = path.read_bytes()
    if checksum(content) != parameters.get("sha256"):
        raise titanic.DataError(
            f"{path}: not the file that was saved (its checksum differs from the one in "
            f"{PARAMETERS_FILE}); fetch the artifact again"
        )
    try:
        return joblib.load(io.BytesIO(content))
    except ModuleNotFoundError as error:  # numpy 1.24 cannot open what numpy 2 wrote
        others = ", ".join(f"{package} {version}" for package, version in versions.items())
        raise titanic.DataError(
            f"{path}: cannot be opened with what is installed here ({error}); it was saved with "
            f"{others}"
        ) from error
