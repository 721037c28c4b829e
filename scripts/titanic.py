"""The passenger list: its columns, how it is read and checked, and the features models learn from.

Every entry point and every notebook uses this module, so one row gives the same features alone
or among millions, in training and in test: categories are fixed here, nothing is learnt from the
data, and nothing depends on another row.

    frame = titanic.read("data/titanic_train.csv")   # or a folder: every CSV and Parquet file in it
    X, y = titanic.features(frame), titanic.labels(frame)

The columns are those of the well-known public file, so that file works as it is. Their order does
not matter, and columns that are not ours are left aside. Anything else that is not as it should
be raises ``DataError``: one sentence with file, row, column, and what was expected. Rows are
counted from 1, the header not included.
"""

from __future__ import annotations

import csv
import io
import math
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:  # pandas is imported where it is used: entry points answer --help at once
    import numpy as np
    import pandas as pd
    import pyarrow as pa

LABEL = "Survived"
COLUMNS = (
    "PassengerId",
    "Survived",
    "Pclass",
    "Name",
    "Sex",
    "Age",
    "SibSp",
    "Parch",
    "Ticket",
    "Fare",
    "Cabin",
    "Embarked",
)
# What a model needs. PassengerId, Name, Ticket and Cabin name a person or a place, not a kind of
# person: a model could learn them by heart, so no feature is made from them.
SOURCES = ("Pclass", "Sex", "Age", "SibSp", "Parch", "Fare", "Embarked")
TRAINING_COLUMNS = (LABEL, *SOURCES)
FEATURES = (
    "Pclass",  # 1, 2, 3: an order, so one number
    "Female",  # 1 female, 0 male
    "Age",  # years; NaN where unknown
    "SibSp",  # brothers, sisters, husband or wife aboard
    "Parch",  # parents and children aboard
    "Fare",  # pounds; NaN where unknown
    "Embarked_C",  # Cherbourg. An unknown port is 0 in all three
    "Embarked_Q",  # Queenstown
    "Embarked_S",  # Southampton
)
CATEGORIES = {"Sex": ("female", "male"), "Embarked": ("C", "Q", "S")}


class _Numbers(NamedTuple):
    """What a column of numbers may hold."""

    low: float
    high: float
    whole: bool
    optional: bool
    expected: str


_LARGEST = float(2**53)  # beyond it a float64 cannot tell whole numbers apart
_NUMBERS = {
    "PassengerId": _Numbers(0, _LARGEST, True, False, "a whole number"),
    "Survived": _Numbers(0, 1, True, False, "0 (died) or 1 (survived)"),
    "Pclass": _Numbers(1, 3, True, False, "1, 2 or 3"),
    "Age": _Numbers(0, 120, False, True, "a number of years from 0 to 120, or nothing"),
    "SibSp": _Numbers(0, 100, True, False, "a whole number from 0 to 100"),
    "Parch": _Numbers(0, 100, True, False, "a whole number from 0 to 100"),
    "Fare": _Numbers(0, 1e6, False, True, "an amount from 0 to 1000000, or nothing"),
}
_OPTIONAL_CATEGORY = {"Embarked"}
_TEXTS = ("Name", "Ticket", "Cabin")
_CHUNK_ROWS = 10_000


class DataError(ValueError):
    """The data are not as they should be; the message is one sentence for who has them."""


# --- reading --------------------------------------------------------------------------------------


def read(source: str | Path | BinaryIO, columns: tuple[str, ...] = COLUMNS) -> pd.DataFrame:
    """Read and check passengers from a file, a folder (a channel), or an open file.

    A folder is read whole: every ``.csv`` and ``.parquet`` file in it and below, in the order of
    their names. An open file may be what ``boto3`` returns as ``Body``.

    Returns one row per passenger with just ``columns``, in that order: numbers as int64 (whole) or
    float64, Sex and Embarked as categories, the rest text. A list without labels is read with
    ``columns=titanic.SOURCES``.

    Raises DataError where something is missing, unreadable, or not as the schema says.
    """
    import pandas as pd

    if hasattr(source, "read"):
        return _not_empty(_read_stream(source, columns), _name_of(source))
    files = data_files(source)
    frames = [_read_file(path, columns) for path in files]
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    return _not_empty(frame, str(source))


def data_files(source: str | Path) -> list[Path]:
    """The data files that ``read`` takes from this file or folder, in the order it takes them.

    Whatever does not end in .csv or .parquet (SageMaker's ``<channel>-manifest``, a README) is no
    data, nor are names that start with a dot or an underscore. Raises DataError if there is none.
    """
    if "://" in str(source):
        raise DataError(
            f"{source}: not a path of this machine; download it first, or pass the open body"
        )
    path = Path(source)
    if path.is_file():
        return [path]
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    below = sorted(path.rglob("*"), key=lambda file: file.relative_to(path).parts)
    files = [file for file in below if file.is_file() and not _set_aside(file.relative_to(path))]
    data = [file for file in files if file.suffix.lower() in (".csv", ".parquet")]
    if not data:
        found = ", ".join(file.name for file in files[:3]) or "nothing"
        raise DataError(f"{path}: expected at least one .csv or .parquet file, found {found}")
    return data


def _set_aside(relative: Path) -> bool:
    return any(part.startswith((".", "_")) for part in relative.parts)


def _name_of(stream: BinaryIO) -> str:
    return str(getattr(stream, "name", "the data"))


def _not_empty(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    if frame.empty:
        raise DataError(f"{where}: there is a header but no row below it")
    return frame


def _read_file(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        with path.open("rb") as file:
            return _read_stream(file, columns, parquet=path.suffix.lower() == ".parquet")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_stream(stream: BinaryIO, columns: tuple[str, ...], parquet: bool = False) -> pd.DataFrame:
    where = _name_of(stream)
    if not isinstance(stream, io.BufferedReader):  # a body from S3 cannot seek; text has no bytes
        content = stream.read()
        stream = io.BytesIO(content.encode() if isinstance(content, str) else content)
    start = stream.read(4)
    stream.seek(0)
    if not start:
        raise DataError(f"{where}: the file is empty")
    if parquet or start == b"PAR1":
        return _read_parquet(stream, where, columns)
    return _read_csv(stream, where, columns)


def _read_parquet(stream: BinaryIO, where: str, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(
            f"{where}: reading Parquet needs the package pyarrow, which is not installed here; "
            "install it (in a job: a line in requirements.txt), or use CSV"
        ) from error
    try:
        parquet = pq.ParquetFile(stream)
        _check_names(parquet.schema_arrow.names, where, columns)
        table = parquet.read(columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{where}: not a readable Parquet file ({_first_line(error)})") from error
    frame = table.to_pandas()
    check(frame, where, columns)
    return _typed(frame, columns)


def _read_csv(stream: BinaryIO, where: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """Fast with Arrow. If Arrow refuses the file, or a value is wrong, read it again line by line.

    The plain reader is several times slower, and can say which row on which line is wrong. It is
    also the one in use where pyarrow is missing; both give equal frames.
    """
    header = _header(stream, where)
    _check_names(header, where, columns)
    frame = _arrow_csv(stream, columns)
    if frame is not None and _first_fault(frame, columns) is None:
        frame = _typed(frame, columns)
        _release()
        return frame
    stream.seek(0)
    return _plain_csv(stream, where, columns)


def _header(stream: BinaryIO, where: str) -> list[str]:
    """The names in the first line of a CSV file; the stream stands at its beginning again."""
    line = stream.readline(1_000_000)
    stream.seek(0)
    try:
        if b"\0" in line:
            raise UnicodeError("a zero byte")
        return next(csv.reader([line.decode("utf-8-sig")]), [])
    except UnicodeError as error:
        raise DataError(f"{where}: expected CSV text in UTF-8, found other bytes") from error
    except csv.Error as error:
        raise DataError(f"{where}: the first line is not a CSV header ({error})") from error


def _arrow_csv(stream: BinaryIO, columns: tuple[str, ...]) -> pd.DataFrame | None:
    """A frame by Arrow's reader, or None where there is no pyarrow or it finds a fault."""
    try:
        import pyarrow as pa
        import pyarrow.csv as pc
    except ImportError:
        return None
    convert = pc.ConvertOptions(
        include_columns=list(columns),
        column_types={name: _arrow_type(name) for name in columns},
        null_values=[""],
        strings_can_be_null=True,
    )
    try:
        return _emptied(  # of its argument no name stays here, which would keep it in memory
            pc.read_csv(
                stream,
                parse_options=pc.ParseOptions(newlines_in_values=True),
                convert_options=convert,
            )
        )
    except (pa.ArrowException, UnicodeDecodeError):
        return None


def _emptied(table: pa.Table) -> pd.DataFrame:
    """A frame of a table that nobody else needs: column by column, such that memory holds one of
    them at a time twice, and not all."""
    import pandas as pd

    values = {}
    for name in table.column_names:
        values[name] = table.column(0).to_pandas()
        table = table.remove_column(0)
        _release()
    return pd.DataFrame(values, copy=False)


def _release() -> None:
    """Arrow keeps what it has freed, for its own next use; others cannot have it until then."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def _arrow_type(column: str) -> pa.DataType:
    import pyarrow as pa

    if column in CATEGORIES:
        return pa.dictionary(pa.int32(), pa.string())
    if column in _NUMBERS:
        return pa.int64() if _NUMBERS[column].whole else pa.float64()
    return pa.string()


def _plain_csv(stream: BinaryIO, where: str, columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    chunks = []
    try:
        reader = csv.reader(text)
        header = next(reader)
        places = [header.index(name) for name in columns]
        rows_before = 0
        while True:
            rows, lines = _chunk(reader, len(header), places, where, rows_before)
            frame = pd.DataFrame(
                {name: _values(name, [row[i] for row in rows]) for i, name in enumerate(columns)}
            )
            fault = _first_fault(frame, columns)
            if fault is not None:
                row = rows_before + fault.row
                raise DataError(fault.sentence(f"{where}, row {row} (line {lines[fault.row - 1]})"))
            chunks.append(_typed(frame, columns))
            rows_before += len(rows)
            if len(rows) < _CHUNK_ROWS:
                return pd.concat(chunks, ignore_index=True)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: expected CSV text in UTF-8, found other bytes; save the file as UTF-8"
        ) from error
    except csv.Error as error:
        raise DataError(
            f"{where}, line {reader.line_num}: not readable as CSV ({error})"
        ) from error
    finally:
        text.detach()  # the stream belongs to the caller


def _chunk(
    reader: Any, width: int, places: list[int], where: str, rows_before: int
) -> tuple[list[list[str]], list[int]]:
    """The next rows of a CSV reader, only the fields at ``places``, and the line each ends on."""
    rows: list[list[str]] = []
    lines: list[int] = []
    for fields in islice((fields for fields in reader if fields), _CHUNK_ROWS):
        if len(fields) != width:
            raise DataError(
                f"{where}, row {rows_before + len(rows) + 1} (line {reader.line_num}): "
                f"expected {width} fields as in the header, found {len(fields)}"
            )
        rows.append([fields[place] for place in places])
        lines.append(reader.line_num)
    return rows, lines


def _values(name: str, texts: list[str]) -> np.ndarray:
    """A column's values from its texts: what is no number stays text there; "" is nothing."""
    import numpy as np

    if name in _NUMBERS:
        numbers = [_number(text) for text in texts]
        return np.array(numbers, dtype=object if str in set(map(type, numbers)) else "float64")
    values = np.array(texts, dtype=object)
    values[values == ""] = None
    return values


def _number(text: str) -> float | str:
    try:
        return float(text) if text else math.nan  # the nearest number, as Arrow reads it
    except ValueError:
        return text  # the check says which it is


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


# --- checking -------------------------------------------------------------------------------------


class _Fault(NamedTuple):
    row: int  # from 1
    column: str
    expected: str
    found: Any

    def sentence(self, place: str) -> str:
        if self.found == self.column:
            return f"{place}: the header again, where a passenger belongs; delete that line"
        return f"{place}, column {self.column}: expected {self.expected}, found {_said(self.found)}"


def _said(value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return "nothing"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    return f"{value:g}" if isinstance(value, float) else str(value)


def check(frame: pd.DataFrame, where: str, columns: tuple[str, ...] = COLUMNS) -> None:
    """Check names, types and values of a frame that came from anywhere; ``where`` names it.

    Raises DataError for the first row with a value that the schema does not allow.
    """
    _check_names([str(name) for name in frame.columns], where, columns)
    fault = _first_fault(frame, columns)
    if fault is not None:
        raise DataError(fault.sentence(f"{where}, row {fault.row}"))


def _check_names(names: list[str], where: str, columns: tuple[str, ...]) -> None:
    missing = [name for name in columns if name not in names]
    if missing:
        found = ", ".join(names)
        raise DataError(
            f"{where}: no column {', '.join(missing)}; expected a header that names "
            f"{', '.join(columns)} (in any order), "
            f"found {found if len(found) <= 200 else found[:197] + '...'}"
        )
    twice = sorted({name for name in columns if names.count(name) > 1})
    if twice:
        raise DataError(f"{where}: column {', '.join(twice)} is there twice; keep one")


def _first_fault(frame: pd.DataFrame, columns: tuple[str, ...]) -> _Fault | None:
    faults = [
        fault
        for name in columns
        for fault in [_column_fault(frame[name], name)]
        if fault is not None
    ]
    return min(faults, key=lambda fault: fault.row, default=None)


def _column_fault(values: pd.Series, name: str) -> _Fault | None:
    if name in _NUMBERS:
        bad, expected = _bad_numbers(values, name), _NUMBERS[name].expected
    elif name in CATEGORIES:
        bad, expected = _bad_categories(values, name), " or ".join(CATEGORIES[name])
        if name in _OPTIONAL_CATEGORY:
            expected += ", or nothing"
    else:
        return None
    if not bad.any():
        return None
    place = int(bad.argmax())
    return _Fault(place + 1, name, expected, values.iloc[place])


def _bad_numbers(values: pd.Series, name: str) -> np.ndarray:
    """Which values of a column are no number, or none that the column may hold; bool (rows,)."""
    import numpy as np
    import pandas as pd

    rule = _NUMBERS[name]
    if pd.api.types.is_numeric_dtype(values):
        no_number = np.zeros(len(values), dtype=bool)
        numbers = _floats(values)
    else:
        things = values.astype(object)
        numbers = pd.to_numeric(things, errors="coerce").to_numpy(dtype="float64")
        is_text = things.map(lambda value: isinstance(value, str)).to_numpy(dtype=bool)
        no_number = is_text | (things.notna().to_numpy() & np.isnan(numbers))
    bad = ~((numbers >= rule.low) & (numbers <= rule.high))  # NaN compares as False: bad too
    if rule.whole:
        bad |= numbers != np.floor(numbers)
    if rule.optional:
        bad &= ~np.isnan(numbers)
    return bad | no_number


def _floats(values: pd.Series, kind: str = "float64") -> np.ndarray:
    """Numbers as floats, missing ones as NaN, whether the column is of numpy's types or pandas'."""
    import numpy as np

    if isinstance(values.dtype, np.dtype):
        return values.to_numpy(dtype=kind)
    return values.to_numpy(dtype=kind, na_value=np.nan)


def _bad_categories(values: pd.Series, name: str) -> np.ndarray:
    known = _codes(values, name) >= 0
    return ~(known | values.isna().to_numpy()) if name in _OPTIONAL_CATEGORY else ~known


def _codes(values: pd.Series, name: str) -> np.ndarray:
    """The place of each value among the column's categories, -1 for any other; ints (rows,)."""
    import numpy as np
    import pandas as pd

    known = pd.Index(CATEGORIES[name], dtype=object)
    if isinstance(values.dtype, pd.CategoricalDtype):  # only the few categories are looked up
        places = known.get_indexer(values.cat.categories.astype(object))
        return np.append(places, -1).astype("int8")[values.cat.codes.to_numpy()]
    return known.get_indexer(values.to_numpy(dtype=object))


def _typed(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """A checked frame with the same types whatever file and reader it came from.

    Takes the columns out of ``frame``, so that memory does not hold all of them twice.
    """
    import numpy as np
    import pandas as pd

    typed = {}
    for name in columns:
        values = frame.pop(name)
        if name in CATEGORIES:
            typed[name] = pd.Categorical.from_codes(_codes(values, name), CATEGORIES[name])
        elif name in _NUMBERS:
            typed[name] = values.astype("int64" if _NUMBERS[name].whole else "float64")
        else:  # one kind of nothing, and this pandas' type of text even where all is missing
            texts = values.astype(object)
            typed[name] = texts.where(texts.notna(), np.nan).astype(pd.Series(["text"]).dtype)
    return pd.DataFrame(typed, columns=list(columns))


# --- features -------------------------------------------------------------------------------------


def features(frame: pd.DataFrame) -> pd.DataFrame:
    """The numbers a model sees, of checked passengers.

    Returns a frame of float32, shape (rows, len(FEATURES)), with the index of ``frame``. An unknown
    age or fare stays NaN; an unknown port is 0 in all three Embarked columns.
    """
    import numpy as np
    import pandas as pd

    values = np.empty((len(frame), len(FEATURES)), dtype=np.float32)
    sex = _codes(frame["Sex"], "Sex")
    port = _codes(frame["Embarked"], "Embarked")
    made = {
        "Female": sex == CATEGORIES["Sex"].index("female"),
        **{f"Embarked_{name}": port == code for code, name in enumerate(CATEGORIES["Embarked"])},
    }
    for place, name in enumerate(FEATURES):
        if name in made:
            values[:, place] = made[name]
        else:
            values[:, place] = _floats(frame[name], "float32")
    return pd.DataFrame(values, columns=list(FEATURES), index=frame.index, copy=False)


def labels(frame: pd.DataFrame) -> np.ndarray:
    """Who survived: 1 or 0, as int8 of shape (rows,)."""
    return frame[LABEL].to_numpy(dtype="int8")


def hold_out(y: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose rows to validate on: about ``fraction`` of those who survived, and of those who died.

    The choice depends on ``y``, ``fraction`` and ``seed`` alone. Returns a mask, bool of shape
    (rows,), True for the rows held out. Raises DataError if either part would be without rows.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    mask = np.zeros(len(y), dtype=bool)
    for outcome in (0, 1):
        rows = np.flatnonzero(y == outcome)
        mask[random.permutation(rows)[: round(fraction * len(rows))]] = True
    if mask.all() or not mask.any():
        raise DataError(
            f"holding out {fraction:g} of {len(y)} rows leaves no row on one side; give more rows, "
            "another fraction, or a validation list"
        )
    return mask
