"""Files for SageMaker's built-in XGBoost, and the check to make before it reads them.

    builtin_data.write(frame, "train.csv")      # or train.libsvm, train.parquet
    print(builtin_data.check("train.csv"))      # 712 rows, 9 features, 273 of them labelled 1

The built-in algorithm reads numbers: the label first, then the features, without a header. It does
not know our columns, and it refuses almost nothing: a header is trained on as a row, text is
skipped, and the first column is the label, whatever it is. The job is Completed and its model is
useless. ``check`` refuses such a file with one sentence, ``titanic.DataError``, before the job is
paid.

What it accepts and how it reads is in
https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost.html#InputOutput-XGBoost and
https://github.com/aws/sagemaker-xgboost-container.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import titanic
from titanic import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import xgboost

CONTENT_TYPES = {
    ".csv": "text/csv",
    ".libsvm": "text/libsvm",
    ".parquet": "application/x-parquet",
}
MODEL_FILE = "xgboost-model"
SHOWN = 40  # characters of a line or a value that a sentence shows


class Checked(NamedTuple):
    """The counts of a good file, or of a folder of them."""

    rows: int
    features: int
    positives: int

    def __str__(self) -> str:
        return f"{self.rows} rows, {self.features} features, {self.positives} of them labelled 1"


# --- writing --------------------------------------------------------------------------------------


def write(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write checked passengers as the built-in XGBoost reads them, and return ``path``.

    The label comes first, then ``titanic.FEATURES``, each value such that float32 gets it back. The
    suffix of ``path`` chooses among CONTENT_TYPES. A value that is not known is an empty field, in
    libsvm no entry at all. The file is written completely or not at all.

    Raises DataError for another suffix.
    """
    path = Path(path)
    _content_type(path)
    table = titanic.features(frame).reset_index(drop=True)
    table.insert(0, titanic.LABEL, titanic.labels(frame))
    unfinished = path.with_name(f".{path.name}.part")
    try:
        if path.suffix == ".parquet":
            table.astype("float32").to_parquet(unfinished, index=False)
        elif path.suffix == ".csv":
            _integers_as_int64(table).to_csv(
                unfinished, header=False, index=False, lineterminator="\n"
            )
        else:
            unfinished.write_text("".join(_libsvm_lines(table)), encoding="ascii", newline="\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _content_type(path: Path) -> str:
    if path.suffix not in CONTENT_TYPES:
        raise DataError(
            f"{path}: the ending says the format and must be {', '.join(CONTENT_TYPES)}"
        )
    return CONTENT_TYPES[path.suffix]


def _integers_as_int64(table: pd.DataFrame) -> pd.DataFrame:
    """Return columns of integers as int64: ``3`` instead of ``3.0`` in the text."""
    dtypes = {
        name: "int64"
        for name in table
        if table[name].notna().all() and (table[name] % 1 == 0).all()
    }
    return table.astype(dtypes)


def _libsvm_lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield lines such as ``label 0:3 1:0 2:22.5``.

    A feature that is left out is unknown, so zeros are written.
    """
    texts = [_integers_as_int64(table[[name]])[name].to_numpy().astype(str) for name in table]
    for label, *values in zip(*texts, strict=True):
        known = (f"{index}:{value}" for index, value in enumerate(values) if value != "nan")
        yield f"{label} {' '.join(known)}\n"


# --- checking -------------------------------------------------------------------------------------


def check(source: str | Path, features: int = len(titanic.FEATURES)) -> Checked:
    """Refuse a file, or a folder (channel) of files, that the built-in XGBoost would misread.

    ``features`` is how many must follow the label, in every row. The label must be 0 or 1, and both
    must be there. Returns the counts of rows, features and ones.

    Raises DataError, one sentence with the file, the line, what was expected and the remedy.
    """
    rows = ones = 0
    for path in _files(Path(source)):
        labels = _LOOKS[path.suffix](path, features)
        rows += len(labels)
        ones += int(labels.sum())
    if ones in (0, rows):
        raise DataError(f"{source}: every label is {int(ones > 0)}; there is nothing to tell apart")
    return Checked(rows, features, ones)


def _files(source: Path) -> list[Path]:
    if source.is_file():
        _content_type(source)
        return [source]
    if not source.is_dir():
        raise DataError(f"{source}: no such file or folder")
    files = sorted(path for path in source.rglob("*") if path.is_file())
    hidden = [path.name for path in files if path.name.startswith(".")]
    if hidden:
        raise DataError(f"{source}: the hidden file {hidden[0]} would fail the job; delete it")
    if not files:
        raise DataError(f"{source}: there is no file in this folder")
    kinds = sorted({_content_type(path) for path in files})
    if len(kinds) > 1:
        raise DataError(f"{source}: holds {' and '.join(kinds)}; a channel has one format only")
    return files


def _check_csv(path: Path, features: int) -> np.ndarray:
    """Return the labels of a CSV file; raises DataError at the first fault.

    Arrow finds out quickly whether there is one; the slow way finds out where and what.
    """
    labels = _arrow_labels(path, features)
    return _slow_labels(path, _csv_rows(path, features)) if labels is None else labels


def _arrow_labels(path: Path, features: int) -> np.ndarray | None:
    """Return the labels of a CSV file without any fault; None where there is one, or no pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.csv as pc
    except ImportError:
        return None
    import numpy as np

    if path.open("rb").read(3) == b"\xef\xbb\xbf":  # Arrow skips a byte order mark
        return None
    names = [str(index) for index in range(features + 1)]
    try:
        table = pc.read_csv(
            path,
            read_options=pc.ReadOptions(column_names=names),
            parse_options=pc.ParseOptions(quote_char=False),
            convert_options=pc.ConvertOptions(
                column_types=dict.fromkeys(names, pa.float64()), null_values=[""]
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    columns = [column.to_numpy() for column in table.columns]
    labels = columns[0]
    finite = not any(np.isinf(values).any() for values in columns)
    # The text `nan` is a number to Arrow; an empty field is not.
    gaps = sum(int(np.isnan(values).sum()) for values in columns)
    empty = sum(column.null_count for column in table.columns)
    counted = [column[0] for column in columns] == list(range(features + 1))
    good = finite and gaps == empty and np.isin(labels, (0, 1)).all() and not counted
    return labels if good else None


def _slow_labels(path: Path, labels: Iterable[float]) -> np.ndarray:
    import numpy as np

    values = np.fromiter(labels, dtype=float)
    if not len(values):
        raise DataError(f"{path}: the file is empty")
    return values


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the location of each line, for a message, and its text; blank ones are skipped, as in
    XGBoost."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if text := line.rstrip("\r\n"):
                    yield f"{path}, line {number}", text
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in UTF-8, found other bytes") from error


def _csv_rows(path: Path, features: int) -> Iterator[float]:
    """Yield the labels of a CSV file, line by line; raises DataError at the first fault."""
    for number, (location, line) in enumerate(_lines(path)):
        fields = line.split(",")
        if number == 0:
            _check_first_line(path, line, fields, features)
        if len(fields) != features + 1:
            raise DataError(
                f"{location}: expected {features + 1} fields (a label and {features} features), "
                f"found {len(fields)}{_wrong_width(line, fields, features)}"
            )
        for column, field in enumerate(fields, start=1):
            if not _is_number(field) and (field or column == 1):
                raise DataError(f"{location}, field {column}: {_no_number(field)}")
        yield _label(fields[0], location)


def _check_first_line(path: Path, line: str, fields: list[str], features: int) -> None:
    if line.startswith("\ufeff"):
        raise DataError(
            f"{path}: begins with a byte order mark, which hides the first label; save it as plain "
            "UTF-8"
        )
    counted = fields == [str(index) for index in range(len(fields))]
    if len(fields) > 1 and (counted or not any(map(_is_number, fields))):
        raise DataError(
            f"{path}: the first line is a header ({line[:SHOWN]}…), and would be trained on as a "
            "row; write the file with header=False"
        )


def _wrong_width(line: str, fields: list[str], features: int) -> str:
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(line.split(mark)) == features + 1:
            return f"; they are separated by {name}, use commas"
    if len(fields) == features + 2:
        return "; if the first is the row's number, write the file with index=False"
    return ""


def _no_number(field: str) -> str:
    if not field:
        return "a row without a label; leave such rows out"
    if field.lower() in ("true", "false"):
        return f"expected a number, found {field}; turn truth values into 1 and 0 with astype(int)"
    if field.lower().strip("+-") in ("nan", "na", "null", "none", "inf", "infinity"):
        return f"expected a number, found {field}; leave what is not known empty"
    if field.startswith('"'):
        return f"expected a number, found {field[:SHOWN]}; numbers have no quotes"
    return f"expected a number, found {field[:SHOWN]!r}, which would be skipped; encode text first"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text  # Python alone reads 1_000
    except ValueError:
        return False


def _label(text: str, location: str) -> float:
    label = float(text)
    if label not in (0, 1):
        raise DataError(
            f"{location}: expected the label (0 or 1) first, found {text}; is that the row's or "
            "the passenger's number, or a feature?"
        )
    return label


def _check_libsvm(path: Path, features: int) -> np.ndarray:
    return _slow_labels(path, _libsvm_rows(path, features))


def _libsvm_rows(path: Path, features: int) -> Iterator[float]:
    for location, line in _lines(path):
        label, *entries = line.split() or [""]
        if not _is_number(label):
            raise DataError(
                f"{location}: expected a line such as `1 0:3 1:0.5`, found {line[:SHOWN]!r}"
            )
        last = -1
        for entry in entries:
            key, colon, value = entry.partition(":")
            if not (key.isdecimal() and colon and _is_number(value)):
                raise DataError(f"{location}: expected feature:value, found {entry[:SHOWN]!r}")
            if not last < int(key) < features:
                raise DataError(
                    f"{location}: expected features from 0 to {features - 1}, each once and in "
                    f"order, found {key} after {last}"
                    if last >= 0
                    else f"{location}: expected features from 0 to {features - 1}, found {key}"
                )
            last = int(key)
        yield _label(label, location)


def _check_parquet(path: Path, features: int) -> np.ndarray:
    """Return the labels of a Parquet file.

    The built-in XGBoost reads its columns by position, and ignores their names.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
    names = table.column_names
    if any(name.startswith("__index_level_") for name in names):
        raise DataError(f"{path}: holds the frame's index as a column; write it with index=False")
    if titanic.LABEL in names[1:]:
        raise DataError(
            f"{path}: the label {titanic.LABEL} must be the first column, not {names[0]}"
        )
    if len(names) != features + 1:
        raise DataError(
            f"{path}: expected {features + 1} columns (a label and {features} features), found "
            f"{len(names)}"
        )
    for name, column in zip(names, table.columns, strict=True):
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise DataError(f"{path}, column {name}: expected numbers, found {column.type}")
    labels: np.ndarray = table.column(0).to_numpy().astype(float)
    wrong = np.flatnonzero(~np.isin(labels, (0, 1)))
    if len(wrong):
        _label(f"{labels[wrong[0]]:g}", f"{path}, row {wrong[0] + 1}")
    if not len(labels):
        raise DataError(f"{path}: the file is empty")
    return labels


_LOOKS = {".csv": _check_csv, ".libsvm": _check_libsvm, ".parquet": _check_parquet}


# --- the model that comes back --------------------------------------------------------------------


def load_model(model_dir: str | Path) -> xgboost.Booster:
    """Return the model of a job, from its unpacked ``model.tar.gz``.

    Raises DataError if there is none, or not all of it.

    The algorithm got no names of features, so they are named here, where they are as many as ours:
    then the model can be used as ``train_xgboost.predict`` uses it.
    """
    import xgboost

    import boosting

    path = Path(model_dir, MODEL_FILE)
    if not path.is_file():
        raise DataError(f"{path}: no such file; is this the folder the model was unpacked to?")
    try:
        booster = boosting.load(path)
    except xgboost.core.XGBoostError as error:
        message = f"{path}: this is no complete XGBoost model; fetch the artifact again."
        raise DataError(message) from error
    if booster.num_features() == len(titanic.FEATURES):
        booster.feature_names = list(titanic.FEATURES)
    return booster
