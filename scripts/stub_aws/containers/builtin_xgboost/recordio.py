"""Reads recordio-protobuf, the binary format of SageMaker's own algorithms.

A file is records, one for each row; each holds the row's values, dense or sparse, and its label.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

MAGIC = 0xCED7230A
HEAD = struct.Struct("<II")  # magic number, length of the content
TENSORS = ("float32_tensor", "float64_tensor", "int32_tensor")
FEATURES, LABEL = "values", "values"  # under these names, by convention


def records(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the content of each record.

    Raises:
        ValueError: Something else is there.
    """
    while head := stream.read(HEAD.size):
        if len(head) < HEAD.size:
            raise ValueError("the last record is cut off")
        magic, length = HEAD.unpack(head)
        if magic != MAGIC:
            raise ValueError("it is not recordio: a record does not begin with its magic number")
        content = stream.read(length)
        stream.read(-length % 4)  # each record fills whole words
        if len(content) < length:
            raise ValueError("the last record is cut off")
        yield content


Matrix = np.ndarray[Any, np.dtype[np.float32]]


def read(stream: BinaryIO) -> tuple[Matrix, Matrix | None]:
    """Return the rows of a stream, and their labels if they have any.

    What a sparse row does not hold is missing, which is NaN here.

    Raises:
        ValueError: It is no recordio-protobuf, has no row, or rows of different kinds.
    """
    from sagemaker_training.record_pb2 import Record

    rows, labels = [], []
    for content in records(stream):
        record = Record()
        record.ParseFromString(content)
        rows.append(_tensor(record.features[FEATURES]))
        if LABEL in record.label:
            labels.append(_tensor(record.label[LABEL])[0][0])
    if not rows:
        raise ValueError("there is no record")
    if labels and len(labels) < len(rows):
        raise ValueError("some records have a label and some have none")
    return _matrix(rows), np.array(labels, dtype=np.float32) if labels else None


def read_bytes(data: bytes) -> tuple[Matrix, Matrix | None]:
    """Return rows and labels of what is in memory; as `read`."""
    return read(io.BytesIO(data))


def _tensor(value: Any) -> tuple[list[float], list[int], int]:
    """Return a tensor's values, their places in a sparse row (none in a dense one), its width."""
    kind = value.WhichOneof("value")
    if kind not in TENSORS:
        raise ValueError(f"a record holds {kind or 'nothing'} where numbers should be")
    tensor = getattr(value, kind)
    width = tensor.shape[-1] if tensor.shape else len(tensor.values)
    return list(tensor.values), list(tensor.keys), width


def _matrix(rows: list[tuple[list[float], list[int], int]]) -> Matrix:
    if not any(keys for _, keys, _ in rows):
        if len({len(values) for values, _, _ in rows}) > 1:
            raise ValueError("the records have different numbers of values")
        return np.array([values for values, _, _ in rows], dtype=np.float32)
    width = max(max(width, 1 + max(keys, default=-1)) for _, keys, width in rows)
    matrix = np.full((len(rows), width), np.nan, dtype=np.float32)
    for row, (values, keys, _) in zip(matrix, rows, strict=True):
        row[keys] = values
    return matrix
