"""The channels of the built-in XGBoost: `train`, perhaps `validation`, and in which formats."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import Message

from .errors import UserError

CSV, LIBSVM, PARQUET, RECORDIO = "csv", "libsvm", "parquet", "recordio-protobuf"
FORMATS = {
    CSV: CSV,
    LIBSVM: LIBSVM,
    PARQUET: PARQUET,
    RECORDIO: RECORDIO,
    "text/csv": CSV,
    "text/libsvm": LIBSVM,
    "text/x-libsvm": LIBSVM,
    "application/x-parquet": PARQUET,
    "application/x-recordio-protobuf": RECORDIO,
}
DEFAULT_CONTENT_TYPE = "text/libsvm"
MODES = {"File": set(FORMATS.values()), "FastFile": set(FORMATS.values())}
MODES["Pipe"] = MODES["File"] - {LIBSVM}
DISTRIBUTIONS = ("FullyReplicated", "ShardedByS3Key")
DATA_CHANNELS = ("train", "validation")
CODE_CHANNEL = "code"


def validate(configuration: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """`inputdataconfig.json` with the default content type filled in.

    Raises:
        UserError: `train` is missing, there is a channel that the algorithm does not know, or one
            is configured in a way that it does not support.
    """
    if "train" not in configuration:
        raise UserError("Missing required channel: train")
    channels = {}
    for name, settings in configuration.items():
        if name not in (*DATA_CHANNELS, CODE_CHANNEL):
            raise UserError(f"Extraneous channel found: {name}")
        channel = {"ContentType": DEFAULT_CONTENT_TYPE, **settings}
        if not _supported(name, channel):
            raise UserError(
                f"Channel configuration for '{name}' channel is not supported: {channel}"
            )
        channels[name] = channel
    return channels


def _supported(name: str, channel: Mapping[str, str]) -> bool:
    if name == CODE_CHANNEL:
        return channel["ContentType"] == "text/python"
    # As it stands: a type with parameters (`text/csv; label_size=1`) is another one to the image.
    kind = FORMATS.get(channel["ContentType"])
    mode = channel["TrainingInputMode"]
    return kind in MODES.get(mode, ()) and channel["S3DistributionType"] in DISTRIBUTIONS


def data_format(content_type: str) -> str:
    """CSV, LIBSVM, PARQUET or RECORDIO for a content type such as `text/csv; label_size=1`.

    Raises:
        UserError: It is none of those that the algorithm accepts.
    """
    kind = FORMATS.get(_bare(content_type))
    if kind is None:
        known = ", ".join(FORMATS)
        raise UserError(f"{content_type} is not an accepted ContentType: {known}.")
    label_size = _parse(content_type).get_param("label_size", "1")
    if kind == CSV and label_size != "1":
        raise UserError(
            f"{content_type} is not an accepted csv ContentType. "
            "Optional parameter label_size must be equal to 1"
        )
    return kind


def _bare(content_type: str) -> str:
    return content_type.lower().partition(";")[0].strip()


def _parse(content_type: str) -> Message:
    message = Message()
    message["Content-Type"] = content_type.lower()
    return message
