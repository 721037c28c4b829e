"""The passenger list: its columns, how it is read and checked, and the features models learn from.

Every entry point and every notebook uses this module, so one row gives the same features alone
or among millions, in training and in test: categories are fixed here, nothing is learnt from the
data, and nothing depends on another row.

    frame = titanic.read("data/titanic_train.csv")   # or a folder: every CSV and Parquet file in it
    X, y = titanic.features(frame), titanic.labels(frame)

    for x, y in titanic.stream("data"):     # the same as arrays, some ten thousand rows at a time
        ...

The columns are those of the well-known public file, so that file works as it is. Their order does
not matter, and other columns are ignored. Anything else that differs from the schema raises
``DataError``: one sentence with file, row, column, and what was expected. Rows are counted from 1,
the header not included.
"""

from __future__ import annotations

import csv
import io
import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
    """The rule for a column of numbers."""

    low: float
    high: float
    integer: bool
    optional: bool
    expected: str


_LARGEST = float(2**53)  # a float64 cannot hold every integer beyond it
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
_CHUNK_ROWS = 10_000  # of the plain reader
_BLOCK_BYTES = 8 * 2**20  # of Arrow's: about 110,000 passengers
_PARQUET_ROWS = 100_000
_END = object()


class DataError(ValueError):
    """The data differ from the schema; the message is one sentence for the person who has them."""


# --- reading --------------------------------------------------------------------------------------


def read(source: str | Path | BinaryIO, columns: tuple[str, ...] = COLUMNS) -> pd.DataFrame:
    """Read and check passengers from a file, a folder (a channel), or an open file.

    Of a folder it reads every ``.csv`` and ``.parquet`` file in it and below, in the order of their
    names. An open file may be what ``boto3`` returns as ``Body``.

    Returns one row per passenger with just ``columns``, in that order: numbers as int64 or float64,
    Sex and Embarked as categories, the rest text. A list without labels is read with
    ``columns=titanic.SOURCES``.

    Raises DataError where something is missing, unreadable, or differs from the schema.
    """
    import pandas as pd

    frames = list(chunks(source, columns))
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def chunks(
    source: str | Path | BinaryIO, columns: tuple[str, ...] = COLUMNS
) -> Iterator[pd.DataFrame]:
    """Yield what ``read`` returns, some ten thousand rows at a time, so that memory holds few.

    A fault raises DataError when the reading has come to it, after the rows before it.
    """
    if hasattr(source, "read"):
        content = source.read()
        data = content.encode() if isinstance(content, str) else content
        where = str(getattr(source, "name", "the data"))
        yield from _not_empty(_chunks_of(lambda: io.BytesIO(data), where, columns), where)
        return
    yield from _not_empty(
        (frame for path in data_files(source) for frame in _file_chunks(path, columns)), str(source)
    )


def stream(source: str | Path, dtype: str = "float32") -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield features and labels of a file or a folder, checked, some ten thousand rows at a time.

    Features have the shape (rows, len(FEATURES)) and this type, labels are int8 of shape (rows,).
    Of a chunk, memory holds nothing else. A file with a header alone yields nothing: of a channel,
    other files may have the rows.

    Raises DataError when the reading has come to a fault.
    """
    for path in data_files(source):
        for frame in _file_chunks(path, TRAINING_COLUMNS):
            x, y = _feature_values(frame, dtype), labels(frame)
            del frame
            yield x, y


def _file_chunks(path: Path, columns: tuple[str, ...]) -> Iterator[pd.DataFrame]:
    """Yield what ``chunks`` yields of one file, which may be without rows."""
    try:
        yield from _chunks_of(lambda: path.open("rb"), str(path), columns, path.suffix.lower())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def data_files(source: str | Path) -> list[Path]:
    """Return the data files that ``read`` reads of this file or folder, in its order.

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
    files = [file for file in below if file.is_file() and not _is_ignored(file.relative_to(path))]
    data = [file for file in files if file.suffix.lower() in (".csv", ".parquet")]
    if not data:
        names = ", ".join(file.name for file in files[:3]) or "nothing"
        raise DataError(f"{path}: expected at least one .csv or .parquet file, found {names}")
    return data


def _is_ignored(relative: Path) -> bool:
    return any(part.startswith((".", "_")) for part in relative.parts)


def _not_empty(frames: Iterator[pd.DataFrame], where: str) -> Iterator[pd.DataFrame]:
    rows = 0
    for frame in frames:
        rows += len(frame)
        yield frame
    if not rows:
        raise no_rows(where)


def no_rows(where: str) -> DataError:
    """Return the error for a file, or a channel of files, without a passenger."""
    return DataError(f"{where}: there is a header but no row below it")


def _chunks_of(
    opened: Callable[[], BinaryIO], where: str, columns: tuple[str, ...], suffix: str = ""
) -> Iterator[pd.DataFrame]:
    """Return the chunks of one file, which can be opened more than once."""
    with opened() as file:
        start = file.read(4)
    if not start:
        raise DataError(f"{where}: the file is empty")
    parquet = suffix == ".parquet" or start == b"PAR1"
    return (_parquet_chunks if parquet else _csv_chunks)(opened, where, columns)


def _parquet_chunks(
    opened: Callable[[], BinaryIO], where: str, columns: tuple[str, ...]
) -> Iterator[pd.DataFrame]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise DataError(
            f"{where}: reading Parquet needs the package pyarrow, which is not installed here; "
            "install it (in a job: a line in requirements.txt), or use CSV"
        ) from error
    before = 0
    with opened() as file:
        try:
            parquet = pq.ParquetFile(file)
            _check_names(parquet.schema_arrow.names, where, columns)
            for batch in parquet.iter_batches(_PARQUET_ROWS, columns=list(columns)):
                frame = batch.to_pandas()
                check(frame, where, columns, before)
                before += len(frame)
                yield _typed(frame, columns)
        except (pa.ArrowException, OSError) as error:
            fault = _first_line(error)
            raise DataError(f"{where}: not a readable Parquet file ({fault})") from error


def _csv_chunks(
    opened: Callable[[], BinaryIO], where: str, columns: tuple[str, ...]
) -> Iterator[pd.DataFrame]:
    """Yield checked frames by Arrow, which is fast; where it finds a fault, go on line by line.

    The plain reader is several times slower, and knows which row on which line is wrong. It is also
    the one in use where pyarrow is missing; both read equal rows.
    """
    with opened() as file:
        _check_names(_header(file, where), where, columns)
    rows = 0
    for frame in _ahead(_arrow_csv(opened, columns)):
        if frame is None or _first_fault(frame, columns) is not None:
            break
        rows += len(frame)
        yield _typed(frame, columns)
    else:
        return
    with opened() as file:
        yield from _plain_csv(file, where, columns, rows)


def _header(file: BinaryIO, where: str) -> list[str]:
    """Return the names in the first line of a CSV file."""
    line = file.readline(1_000_000)
    try:
        if b"\0" in line:
            raise UnicodeError("a zero byte")
        return next(csv.reader([line.decode("utf-8-sig")]), [])
    except UnicodeError as error:
        raise DataError(f"{where}: expected CSV text in UTF-8, found other bytes") from error
    except csv.Error as error:
        raise DataError(f"{where}: the first line is not a CSV header ({error})") from error


def _arrow_csv(
    opened: Callable[[], BinaryIO], columns: tuple[str, ...]
) -> Iterator[pd.DataFrame | None]:
    """Yield frames by Arrow; None, and no more, where there is no pyarrow or it finds a fault."""
    try:
        import pyarrow as pa
        import pyarrow.csv as pc
    except ImportError:
        yield None
        return
    convert = pc.ConvertOptions(
        include_columns=list(columns),
        column_types={name: _arrow_type(name) for name in columns},
        null_values=[""],
        strings_can_be_null=True,
    )
    with opened() as file:
        try:
            with pc.open_csv(
                file,
                read_options=pc.ReadOptions(block_size=_BLOCK_BYTES),
                parse_options=pc.ParseOptions(newlines_in_values=True),
                convert_options=convert,
            ) as reader:
                for batch in reader:
                    yield batch.to_pandas()
                    del batch
                    # Arrow keeps what it has freed for its own next use; others need it as well
                    pa.default_memory_pool().release_unused()
        except (pa.ArrowException, UnicodeDecodeError):
            yield None


def _ahead(frames: Iterator[pd.DataFrame | None]) -> Iterator[pd.DataFrame | None]:
    """Yield the same frames, the next of which is already being read while one is worked on."""
    with ThreadPoolExecutor(1) as reader:
        pending = reader.submit(next, frames, _END)
        while (frame := pending.result()) is not _END:
            pending = reader.submit(next, frames, _END)
            yield frame


def _arrow_type(column: str) -> pa.DataType:
    import pyarrow as pa

    if column in CATEGORIES:
        return pa.dictionary(pa.int32(), pa.string())
    if column in _NUMBERS:
        return pa.int64() if _NUMBERS[column].integer else pa.float64()
    return pa.string()


def _plain_csv(
    file: BinaryIO, where: str, columns: tuple[str, ...], rows_before: int
) -> Iterator[pd.DataFrame]:
    """Yield frames by Python's reader, without the first ``rows_before`` rows, which are known."""
    import pandas as pd

    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        reader = csv.reader(text)
        header = next(reader)
        indices = [header.index(name) for name in columns]
        deque(islice((fields for fields in reader if fields), rows_before), maxlen=0)
        while True:
            rows, lines = _chunk(reader, len(header), indices, where, rows_before)
            frame = pd.DataFrame(
                {name: _values(name, [row[i] for row in rows]) for i, name in enumerate(columns)}
            )
            fault = _first_fault(frame, columns)
            if fault is not None:
                row = rows_before + fault.row
                raise DataError(fault.sentence(f"{where}, row {row} (line {lines[fault.row - 1]})"))
            yield _typed(frame, columns)
            rows_before += len(rows)
            if len(rows) < _CHUNK_ROWS:
                return
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: expected CSV text in UTF-8, found other bytes; save the file as UTF-8"
        ) from error
    except csv.Error as error:
        raise DataError(
            f"{where}, line {reader.line_num}: not readable as CSV ({error})"
        ) from error


def _chunk(
    reader: Any, width: int, indices: list[int], where: str, rows_before: int
) -> tuple[list[list[str]], list[int]]:
    """Return the fields at ``indices`` of a CSV reader's next rows, and the line each ends on."""
    rows: list[list[str]] = []
    lines: list[int] = []
    for fields in islice((fields for fields in reader if fields), _CHUNK_ROWS):
        if len(fields) != width:
            raise DataError(
                f"{where}, row {rows_before + len(rows) + 1} (line {reader.line_num}): "
                f"expected {width} fields as in the header, found {len(fields)}"
            )
        rows.append([fields[index] for index in indices])
        lines.append(reader.line_num)
    return rows, lines


def _values(name: str, texts: list[str]) -> np.ndarray:
    """Return a column's values from its texts: what is no number stays text; "" is nothing."""
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
        return text  # the check names it


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


# --- checking -------------------------------------------------------------------------------------


class _Fault(NamedTuple):
    row: int  # from 1
    column: str
    expected: str
    value: Any

    def sentence(self, where: str) -> str:
        if self.value == self.column:
            return f"{where}: the header again, where a passenger belongs; delete that line"
        value = _as_text(self.value)
        return f"{where}, column {self.column}: expected {self.expected}, found {value}"


def _as_text(value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return "nothing"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    return f"{value:g}" if isinstance(value, float) else str(value)


def check(
    frame: pd.DataFrame, where: str, columns: tuple[str, ...] = COLUMNS, before: int = 0
) -> None:
    """Check names, types and values of a frame from anywhere.

    ``where`` names it in messages; ``before`` rows of the same file were checked earlier.

    Raises DataError for the first row with a value that the schema does not allow.
    """
    _check_names([str(name) for name in frame.columns], where, columns)
    fault = _first_fault(frame, columns)
    if fault is not None:
        raise DataError(fault.sentence(f"{where}, row {before + fault.row}"))


def _check_names(names: list[str], where: str, columns: tuple[str, ...]) -> None:
    missing = [name for name in columns if name not in names]
    if missing:
        header = ", ".join(names)
        raise DataError(
            f"{where}: no column {', '.join(missing)}; expected a header that names "
            f"{', '.join(columns)} (in any order), "
            f"found {header if len(header) <= 200 else header[:197] + '...'}"
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
    index = int(bad.argmax())
    return _Fault(index + 1, name, expected, values.iloc[index])


def _bad_numbers(values: pd.Series, name: str) -> np.ndarray:
    """Return which values are no number, or none that the column may hold; bool (rows,)."""
    import numpy as np
    import pandas as pd

    rule = _NUMBERS[name]
    if pd.api.types.is_numeric_dtype(values):
        no_number = np.zeros(len(values), dtype=bool)
        numbers = _floats(values)
    else:
        objects = values.astype(object)
        numbers = pd.to_numeric(objects, errors="coerce").to_numpy(dtype="float64")
        is_text = objects.map(lambda value: isinstance(value, str)).to_numpy(dtype=bool)
        no_number = is_text | (objects.notna().to_numpy() & np.isnan(numbers))
    bad = ~((numbers >= rule.low) & (numbers <= rule.high))  # NaN compares as False: bad too
    if rule.integer:
        bad |= numbers != np.floor(numbers)
    if rule.optional:
        bad &= ~np.isnan(numbers)
    return bad | no_number


def _floats(values: pd.Series, kind: str = "float64") -> np.ndarray:
    """Return numbers as floats, missing ones as NaN, of a column of numpy's types or pandas'."""
    import numpy as np

    floats: np.ndarray
    if isinstance(values.dtype, np.dtype):
        floats = values.to_numpy(dtype=kind)
    else:
        floats = values.to_numpy(dtype=kind, na_value=np.nan)
    return floats


def _bad_categories(values: pd.Series, name: str) -> np.ndarray:
    known = _codes(values, name) >= 0
    return ~(known | values.isna().to_numpy()) if name in _OPTIONAL_CATEGORY else ~known


def _codes(values: pd.Series, name: str) -> np.ndarray:
    """Return the index of each value among the column's categories, -1 for any other; (rows,)."""
    import numpy as np
    import pandas as pd

    known = pd.Index(CATEGORIES[name], dtype=object)
    codes: np.ndarray
    if isinstance(values.dtype, pd.CategoricalDtype):  # only the few categories are looked up
        indices = known.get_indexer(values.cat.categories.astype(object))
        codes = np.append(indices, -1).astype("int8")[values.cat.codes.to_numpy()]
    else:
        codes = known.get_indexer(values.to_numpy(dtype=object))
    return codes


def _typed(frame: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return a checked frame with the same types whatever file and reader it came from.

    It takes the columns out of ``frame``, so that memory does not hold all of them twice.
    """
    import numpy as np
    import pandas as pd

    typed = {}
    for name in columns:
        values = frame.pop(name)
        if name in CATEGORIES:
            typed[name] = pd.Categorical.from_codes(_codes(values, name), CATEGORIES[name])
        elif name in _NUMBERS:
            typed[name] = values.astype("int64" if _NUMBERS[name].integer else "float64")
        else:  # one kind of nothing, and this pandas' type of text even where all is missing
            texts = values.astype(object)
            typed[name] = texts.where(texts.notna(), np.nan).astype(pd.Series(["text"]).dtype)
    return pd.DataFrame(typed, columns=list(columns))


# --- features -------------------------------------------------------------------------------------


def features(frame: pd.DataFrame, dtype: str = "float32") -> pd.DataFrame:
    """Return the numbers that a model sees, of checked passengers.

    They are a frame of this type, shape (rows, len(FEATURES)), with the index of ``frame``. An
    unknown age or fare stays NaN; an unknown port is 0 in all three Embarked columns.
    """
    import pandas as pd

    values = _feature_values(frame, dtype)
    return pd.DataFrame(values, columns=list(FEATURES), index=frame.index, copy=False)


def _feature_values(frame: pd.DataFrame, dtype: str) -> np.ndarray:
    """Return the features of checked passengers as an array of this type."""
    import numpy as np

    values = np.empty((len(frame), len(FEATURES)), dtype=dtype)
    sex = _codes(frame["Sex"], "Sex")
    port = _codes(frame["Embarked"], "Embarked")
    made = {
        "Female": sex == CATEGORIES["Sex"].index("female"),
        **{f"Embarked_{name}": port == code for code, name in enumerate(CATEGORIES["Embarked"])},
    }
    for index, name in enumerate(FEATURES):
        values[:, index] = made[name] if name in made else _floats(frame[name], dtype)
    return values


def labels(frame: pd.DataFrame) -> np.ndarray:
    """Return who survived: 1 or 0, as int8 of shape (rows,)."""
    survived: np.ndarray = frame[LABEL].to_numpy(dtype="int8")
    return survived


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
