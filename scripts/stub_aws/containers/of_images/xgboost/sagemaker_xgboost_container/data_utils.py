"""Reading of data into XGBoost's DMatrix, by the loaders of the built-in algorithm."""

from __future__ import annotations

from pathlib import Path

import xgboost as xgb
from builtin_xgboost import data
from builtin_xgboost.channels import CSV, LIBSVM, PARQUET, RECORDIO, data_format

RECORDIO_PROTOBUF = RECORDIO


def get_content_type(content_type_cfg_val: str | None) -> str:
    """Return `csv`, `libsvm`, `parquet` or `recordio-protobuf` for a content type; libsvm for none.

    Raises:
        UserError: It is another one.
    """
    return data_format(content_type_cfg_val) if content_type_cfg_val else LIBSVM


def get_dmatrix(
    data_path: str | list[str], content_type: str, csv_weights: int = 0, is_pipe: bool = False
) -> xgb.DMatrix | None:
    """Return the rows of a folder, a file or several of them; None where there are none.

    Raises:
        UserError: A file is not in that format.
    """
    paths = [data_path] if isinstance(data_path, str) else data_path
    if not is_pipe and not any(Path(path).exists() for path in paths):
        return None
    kind = get_content_type(content_type)
    return data.load(list(map(Path, paths)), kind, csv_weights=csv_weights == 1, pipe=is_pipe)


def get_csv_dmatrix(files_path: str, csv_weights: int = 0) -> xgb.DMatrix | None:
    """Return the rows of CSV files without a header, the label first."""
    return get_dmatrix(files_path, CSV, csv_weights)


def get_libsvm_dmatrix(files_path: str) -> xgb.DMatrix | None:
    """Return the rows of libsvm files."""
    return get_dmatrix(files_path, LIBSVM)


def get_parquet_dmatrix(path: str, is_pipe: bool = False) -> xgb.DMatrix | None:
    """Return the rows of Parquet files, the label first."""
    return get_dmatrix(path, PARQUET, is_pipe=is_pipe)


def get_recordio_protobuf_dmatrix(path: str, is_pipe: bool = False) -> xgb.DMatrix | None:
    """Return the rows of recordio-protobuf files."""
    return get_dmatrix(path, RECORDIO, is_pipe=is_pipe)


def get_size(data_path: str, is_pipe: bool = False) -> int:
    """Return the bytes below a folder; 1 for a pipe, whose size nobody knows."""
    return 1 if is_pipe and Path(f"{data_path}_0").exists() else data.size(Path(data_path))
