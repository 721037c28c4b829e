"""From the files of a channel to a DMatrix, by the very loaders that the image uses.

CSV and libsvm are read by XGBoost's own text loader. It takes a header for a row, and text for the
number that it begins with; without one, for a missing value, or for the label 0. Such files train,
without an error, as they do on SageMaker.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import xgboost as xgb

from . import recordio, say
from .channels import CSV, LIBSVM, PARQUET, RECORDIO
from .errors import UserError

MAX_DEPTH = 3  # of folders below a channel's own that are read
PARQUET_MARK = b"PAR1"  # a file begins and ends with it
SNIPPET = 50  # characters of a line that a message shows
NO_LABELS = (
    "Got input data without labels. Please check the input data set. If training job is running on "
    "multiple instances, please switch to using single instance if number of records in the data "
    "set is less than number of workers (16 * number of instance) in the cluster."
)


def load(
    folders: Sequence[Path], data_format: str, *, csv_weights: bool = False, pipe: bool = False
) -> xgb.DMatrix | None:
    """Return the rows of all files in `folders`, or None where there are none.

    Raises:
        UserError: A file is not in that format, or a hidden one lies among them.
    """
    if pipe:
        matrix = read_pipes(folders, data_format)
        if matrix is not None and not matrix.get_label().size:
            raise UserError(NO_LABELS)
        return matrix
    if sum(map(size, folders)) == 0:
        return None
    for folder in folders:
        check_format(data_files(folder), data_format)
    files = gather(folders)
    if data_format in (PARQUET, RECORDIO):
        matrix = read_binary([path.read_bytes() for path in files], data_format)
    else:
        matrix = read_text(files, data_format, csv_weights)
    if not matrix.get_label().size:
        raise UserError(NO_LABELS)
    if data_format == CSV:
        warn_of_text(files, csv_weights)
    return matrix


# ---- Pipe mode ---------------------------------------------------------------------------------

_epochs: Counter[Path] = Counter()  # channel -> how often its data was read


def read_pipes(folders: Sequence[Path], data_format: str) -> xgb.DMatrix | None:
    """Return what the channels' pipes bring in their next epoch; None where that is nothing.

    Raises:
        UserError: The format cannot be read from a pipe, or the data is in another one.
    """
    if data_format not in (PARQUET, RECORDIO):
        raise UserError(f"Pipe mode not supported for {data_format}. Use File mode.")
    parts = []
    for folder in folders:
        content = folder.with_name(f"{folder.name}_{_epochs[folder]}").read_bytes()
        _epochs[folder] += 1
        if content:  # objects come one after another
            parts += parquet_files(content) if data_format == PARQUET else [content]
    return read_binary(parts, data_format) if parts else None


def parquet_files(content: bytes) -> list[bytes]:
    """Return the Parquet files that stand one after another in a stream.

    One ends and the next begins with the same mark, which may be in the data, too: a piece between
    two marks that is no file belongs to the next one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    *starts, last = content.split(PARQUET_MARK * 2)
    pieces = [piece + PARQUET_MARK for piece in starts] + [last]
    files: list[bytes] = []
    waiting = b""
    for number, piece in enumerate(pieces):
        waiting += piece if number == 0 else PARQUET_MARK + piece
        try:
            pq.ParquetFile(io.BytesIO(waiting))
        except (pa.ArrowException, OSError):
            continue
        files.append(waiting)
        waiting = b""
    return [*files, waiting] if waiting else files  # the rest is no file: reading it says why


# ---- Which files -------------------------------------------------------------------------------


def size(folder: Path) -> int:
    """Return the bytes of all files below `folder`; 0 when it is not there.

    Raises:
        UserError: One of them is hidden.
    """
    total = 0
    for path in [folder] if folder.is_file() else folder.rglob("*"):
        if path.is_file():
            if path.name.startswith("."):
                raise UserError("Hidden file found in the data path! Remove that before training.")
            total += path.stat().st_size
    return total


def data_files(folder: Path) -> list[Path]:
    """Return the files whose first lines are checked: those of the first folder that holds no
    other."""
    if folder.is_file():
        return [folder]
    for root, folders, names in os.walk(folder):
        if not folders:
            return [Path(root, name) for name in sorted(names) if not name.startswith("_")]
    return []


def gather(folders: Sequence[Path]) -> list[Path]:
    """Link all files of `folders` into one new folder, as the image does, and list the links.

    The image's folder is `/tmp/sagemaker_xgboost_input_data`; a host without namespaces has
    another for its temporary files. The numbers keep names apart and the order of rows the same.
    """
    target = Path(tempfile.gettempdir(), "sagemaker_xgboost_input_data")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    links: list[Path] = []
    for folder in folders:
        paths = [folder] if folder.is_file() else folder.rglob("*")
        files = sorted(filter(Path.is_file, paths))
        near = [path for path in files if len(path.relative_to(folder).parts) <= MAX_DEPTH]
        if near != files:
            logging.warning(
                f"The depth of folder {folder} exceed the limit {MAX_DEPTH}. Files in deeper sub "
                "dirs won't be loaded. Please adjust the folder structure accordingly."
            )
        for path in near:
            if path.stat().st_size:
                links.append(target / f"{len(links):06}{path.suffix}")
                links[-1].symlink_to(path.absolute())
    logging.info(f"files path: {target}")
    return links


def warn_of_same_files(train: Path, validation: Path) -> None:
    """Log what the image logs when files of both channels have the same names and sizes."""
    for path in sorted(filter(Path.is_file, train.glob("*"))):
        twin = validation / path.name
        if twin.is_file() and twin.stat().st_size == path.stat().st_size:
            logging.warning(
                f"Suspected identical files found. ({path} and {twin}with same size "
                f"{path.stat().st_size} bytes). Note: Duplicate data in the training set and "
                "validation set is usually not intentional and can impair the validity of the "
                "model evaluation by the validation score."
            )


# ---- What is in them ---------------------------------------------------------------------------


def first_line(path: Path) -> str:
    with path.open(encoding="utf-8", errors="ignore", newline="") as file:
        return file.readline()


def delimiter_of(line: str) -> str:
    """Return what separates the fields of `line`.

    Raises:
        UserError: It cannot be told.
    """
    try:
        delimiter = csv.Sniffer().sniff(line).delimiter
    except csv.Error as error:
        raise UserError(
            f"Could not determine delimiter on line {line[:SNIPPET]}:\n{error}"
        ) from None
    logging.info(f"Determined delimiter of CSV input is '{delimiter}'")
    return delimiter


def check_format(files: Sequence[Path], data_format: str) -> None:
    """Look at the beginning of each file, as the image does before it loads them.

    Raises:
        UserError: It is not in that format.
    """
    for path in files:
        if data_format == CSV:
            delimiter_of(first_line(path))
        elif data_format == LIBSVM:
            check_libsvm(path)


def check_libsvm(path: Path) -> None:
    with path.open(encoding="utf-8", errors="ignore") as file:
        for line in file:
            count = count_libsvm_features(line)
            if count is None:
                raise UserError(
                    f"First line '{line[:SNIPPET]}...' of file '{path.name}' is not 'LIBSVM' "
                    "format. Please ensure the file is in 'LIBSVM' format."
                )
            if count > 1:
                return
    logging.warning(
        f"File {path.name} is not an invalid LIBSVM file but has no features. "
        "Accepting simple validation."
    )


def count_libsvm_features(line: str) -> int | None:
    """Return the number of features in a line such as `1 0:2.5 3:1`, None when it is no such
    line."""
    label, *features = line.split(" ")
    parts = label.split(":")  # a label, and perhaps the weight of the row
    if len(parts) > 2 or not all(map(is_number, parts)):
        logging.error(f"{label} does not follow LIBSVM label format <label>(:<weight>).")
        return None
    if not all(":" in feature for feature in features):
        return None
    return len(features)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_text(files: Sequence[Path], data_format: str, csv_weights: bool) -> xgb.DMatrix:
    """Return the rows of CSV or libsvm files, through XGBoost's own loader."""
    options = f"format={data_format}"
    if data_format == CSV:
        options += f"&label_column=0&delimiter={delimiter_of(first_line(files[0]))}"
    if csv_weights and data_format == CSV:
        options += "&weight_column=1"
    try:
        return xgb.DMatrix(f"{';'.join(map(str, files))}?{options}")
    except xgb.core.XGBoostError as error:
        raise UserError(f"Failed to load {data_format} data with exception:\n{error}") from None


def read_binary(contents: Sequence[bytes], data_format: str) -> xgb.DMatrix:
    """Return the rows of Parquet (the first column is the label) or recordio-protobuf files.

    Raises:
        UserError: One is not in that format.
    """
    try:
        if data_format == PARQUET:
            return read_parquet(contents)
        return read_recordio(contents)
    except (OSError, ValueError, TypeError, xgb.core.XGBoostError) as error:
        raise UserError(f"Failed to load {data_format} data with exception:\n{error}") from None


def read_parquet(contents: Sequence[bytes]) -> xgb.DMatrix:
    """Return the rows of parquet files: the first column is the label."""
    import pyarrow as pa  # only these jobs pay for its import
    import pyarrow.parquet as pq

    try:
        table = pa.concat_tables([pq.read_table(io.BytesIO(content)) for content in contents])
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    values = table.to_pandas().to_numpy()
    return xgb.DMatrix(values[:, 1:], label=values[:, 0])


def read_recordio(contents: Sequence[bytes]) -> xgb.DMatrix:
    rows, labels = recordio.read(io.BytesIO(b"".join(contents)))  # files are records, no more
    return xgb.DMatrix(rows, label=labels)


# ---- What the image would not say --------------------------------------------------------------


def warn_of_text(files: Sequence[Path], csv_weights: bool) -> None:
    """Log once how a header or text in CSV files was read."""
    for path in files:
        source = path.resolve()
        with path.open(encoding="utf-8", errors="ignore", newline="") as file:
            rows = [row for row, _ in zip(csv.reader(file), range(2), strict=False)]
        texts = [[field for field in row if field and not is_number(field)] for row in rows]
        if not any(texts):
            continue
        sentence = f"{source.name} holds text, which the image reads as numbers without an error"
        if len(texts[0]) == len(rows[0]):
            sentence = (
                f"the first line of {source.name} looks like a header "
                f"({', '.join(rows[0][:3])}, …); the image trains on it as a row of data"
            )
            texts = texts[1:]
        if any(texts):
            shown = ", ".join(repr(text) for text in texts[-1][:3])
            sentence += (
                f"; text such as {shown} counts as the number it begins with, else as missing "
                "(as a label: as 0)"
            )
        label = f"the label is the first column ({rows[0][0]})"
        weight = f", the weight the second ({rows[0][1]})" if csv_weights else ""
        say(f"{sentence}; {label}{weight}. So did this job.")
        return
