"""Decoding of a request's body into XGBoost's DMatrix, for a script's `input_fn`."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb
from builtin_xgboost import recordio
from sagemaker_training.errors import UnsupportedFormatError


def csv_to_dmatrix(input: str | bytes, dtype: Any = None) -> xgb.DMatrix:
    """Return the rows of CSV without a header and without labels; an empty cell is missing."""
    text = input.decode() if isinstance(input, bytes) else input
    lines = text.strip("\n").split("\n")
    delimiter = csv.Sniffer().sniff(lines[0][:512]).delimiter
    if delimiter.isalnum():
        delimiter = ","
    cells = [[cell or "nan" for cell in line.split(delimiter)] for line in lines]
    return xgb.DMatrix(np.array(cells).astype(dtype or np.float32))


def libsvm_to_dmatrix(string_like: bytes) -> xgb.DMatrix:
    """Return the rows of libsvm text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows")
        path.write_bytes(string_like.encode() if isinstance(string_like, str) else string_like)
        return xgb.DMatrix(f"{path}?format=libsvm")


def recordio_protobuf_to_dmatrix(string_like: bytes) -> xgb.DMatrix:
    """Return the rows of recordio-protobuf; labels are left out."""
    rows, _ = recordio.read_bytes(bytes(string_like))
    return xgb.DMatrix(rows)


DECODERS: dict[str, Callable[[bytes], xgb.DMatrix]] = {
    "text/csv": csv_to_dmatrix,
    "text/libsvm": libsvm_to_dmatrix,
    "text/x-libsvm": libsvm_to_dmatrix,
    "application/x-recordio-protobuf": recordio_protobuf_to_dmatrix,
}


def decode(obj: bytes, content_type: str) -> xgb.DMatrix:
    """Return the rows of a request's body.

    Raises:
        UnsupportedFormatError: No decoder is for that content type.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in DECODERS:
        raise UnsupportedFormatError(media_type)
    return DECODERS[media_type](obj)


def json_to_jsonlines(json_data: str | dict[str, Any]) -> bytes:
    """Return each entry of a JSON object's only list on a line of its own.

    Raises:
        ValueError: It has several members, or none.
    """
    content = json_data if isinstance(json_data, dict) else json.loads(json_data)
    if len(content) != 1:
        raise ValueError("JSON response is not compatible for conversion to jsonlines.")
    (entries,) = content.values()
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
