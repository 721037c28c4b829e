"""Checks and completes a CreateTrainingJob request, as SageMaker does before it accepts a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import first_party, images, spot, view
from .channels import mode_of
from .configuration import DEFAULT_TENSORBOARD_PATH
from .errors import NotInStub, invalid
from .instance import namespaces_available
from .metrics import Expression

DEFAULT_MAX_RUNTIME_S = 24 * 3600
RESERVED = ("/opt/ml", "/tmp", "/usr/local/nvidia")  # noqa: S108 - folders inside a container
# Folders of a container's own system, in which no other folder can be put.
OF_THE_SYSTEM = {"bin", "boot", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "usr"}
# Hyperparameter of the SDK's -> the key of the Estimator's `distribution` that it comes from.
DISTRIBUTIONS = {
    "sagemaker_mpi_enabled": "mpi",
    "sagemaker_parameter_server_enabled": "parameter_server",
    "sagemaker_multi_worker_mirrored_strategy_enabled": "multi_worker_mirrored_strategy",
    "sagemaker_distributed_dataparallel_enabled": "smdistributed or pytorchddp",
    "sagemaker_pytorch_ddp_enabled": "pytorchddp",
    "sagemaker_pytorch_xla_multi_worker_enabled": "pytorchxla",
}
# Their volumes are local disks, encrypted by the hardware (API reference, ResourceConfig).
LOCAL_STORAGE = ("ml.c5d.", "ml.c6id.", "ml.g4dn.", "ml.g5.", "ml.m5d.", "ml.p3dn.", "ml.p4d.")


def complete(request: dict[str, Any]) -> None:
    """Check a request and fill in what AWS does where it says nothing.

    Raises:
        ApiError: It breaks one of AWS's rules.
        NotInStub: It asks for what AWS can do and this stub cannot.
    """
    request.setdefault("StoppingCondition", {}).setdefault(
        "MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME_S
    )
    check_namespaces(request)
    check_complete(request)
    check_spot(request)
    check_resources(request["ResourceConfig"])
    check_channels(request)
    check_tensorboard(request)
    check_folders(request)
    check_texts(request)
    check_tags(request.get("Tags", []))
    check_image(request)
    check_distribution(request)
    define_metrics(request)
    check_metrics(request)


def check_namespaces(request: dict[str, Any]) -> None:
    """Refuse by name what needs namespaces, where hosts have none.

    Raises:
        NotInStub: The request asks for it.
    """
    if namespaces_available():
        return
    if request.get("ResourceConfig", {}).get("InstanceCount", 1) > 1:
        raise NotInStub(
            "The stub AWS cannot run a training job with several instances where hosts have no "
            "namespaces."
        )
    for name in ("CheckpointConfig", "TensorBoardOutputConfig"):
        if "LocalPath" in request.get(name, {}):
            raise NotInStub(
                f"The stub AWS cannot run a training job with {name}.LocalPath where hosts have no "
                "namespaces."
            )


def check_complete(request: dict[str, Any]) -> None:
    """Raise ValidationException for what the model leaves open because there are two ways."""
    resources = request.get("ResourceConfig", {})
    specification = request.get("AlgorithmSpecification", {})
    if "InstanceType" not in resources or resources.get("InstanceCount", 0) < 1:
        raise invalid(
            "Invalid ResourceConfig. InstanceType and an InstanceCount of at least 1 are required "
            "when InstanceGroups is not specified"
        )
    if "TrainingImage" not in specification:
        raise invalid(
            "Invalid AlgorithmSpecification. One of TrainingImage and AlgorithmName is required"
        )


def check_spot(request: dict[str, Any]) -> None:
    """Raise ValidationException where the waiting time of a spot job is missing or too short."""
    limits = request["StoppingCondition"]
    wait = limits.get("MaxWaitTimeInSeconds")
    if not request.get("EnableManagedSpotTraining"):
        if wait is not None:
            raise invalid(
                "Invalid MaxWaitTimeInSeconds. It is only supported when "
                "EnableManagedSpotTraining is set to true"
            )
        return
    if wait is None or wait < limits["MaxRuntimeInSeconds"]:
        raise invalid(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            "MaxRuntimeInSeconds"
        )
    if request["ResourceConfig"].get("KeepAlivePeriodInSeconds"):
        raise invalid(
            "Invalid KeepAlivePeriodInSeconds. Warm pools are not supported when "
            "EnableManagedSpotTraining is set to true"
        )


def check_resources(resources: dict[str, Any]) -> None:
    """Raise ValidationException for a key on a disk that the hardware encrypts already."""
    if "VolumeKmsKeyId" in resources and resources["InstanceType"].startswith(LOCAL_STORAGE):
        raise invalid(
            "Invalid VolumeKmsKeyId. It is not supported for the instance type "
            f"{resources['InstanceType']}, which has local storage"
        )


def check_channels(request: dict[str, Any]) -> None:
    """Raise ValidationException for channels of one name, and for what File mode cannot unpack."""
    channels = request.get("InputDataConfig", [])
    for name, count in Counter(channel["ChannelName"] for channel in channels).items():
        if count > 1:
            raise invalid(
                f"Invalid InputDataConfig. The channel name {name} is not unique: {count} channels "
                "have it"
            )
    for channel in channels:
        mode, compression = mode_of(channel, request), channel.get("CompressionType", "None")
        if mode != "Pipe" and compression != "None":
            raise invalid(
                f"Invalid compression type for channel {channel['ChannelName']}: {mode} mode only "
                f"supports NONE, got {compression} instead"
            )


def check_tensorboard(request: dict[str, Any]) -> None:
    """Raise ValidationException for a folder of TensorBoard's that is the container's own.

    In AWS's words (amazon-sagemaker-examples, issue 3620).
    """
    folder = request.get("TensorBoardOutputConfig", {}).get("LocalPath", DEFAULT_TENSORBOARD_PATH)
    if folder == DEFAULT_TENSORBOARD_PATH:
        return
    if any(f"{folder}/".startswith(f"{path}/") for path in RESERVED):
        raise invalid(
            '"LocalPath" of "TensorBoardOutputConfig" cannot start with the following reserved '
            f"path: [{', '.join(RESERVED)}]"
        )


def check_folders(request: dict[str, Any]) -> None:
    """Raise ValidationException for a folder that a container cannot have at that place."""
    paths = {
        name: request[name]["LocalPath"]
        for name in ("CheckpointConfig", "TensorBoardOutputConfig")
        if "LocalPath" in request.get(name, {})
    }
    for name, path in paths.items():
        if reason := _no_place(path):
            raise invalid(f"Invalid {name}. The LocalPath '{path}' {reason}")
    if len(paths) == 2 and len(set(map(Path, paths.values()))) == 1:
        raise invalid("Invalid TensorBoardOutputConfig. Its LocalPath is that of CheckpointConfig")


def _no_place(path: str) -> str | None:
    """Return why no folder of a job can be at `path`, for the end of a sentence; None if one can.

    SageMaker would make its container fail; which words it has for that is not known.
    """
    if not path.startswith("/"):
        return "must begin with a slash"
    parts = Path(path).parts
    if ".." in parts or "\0" in path:
        return "is no path of a folder"
    if any(len(part.encode("utf-8", "replace")) > 255 for part in parts):
        return "has a part of more than 255 bytes"
    if (
        len(parts) == 1
        or parts[1] in OF_THE_SYSTEM
        or Path(path) in (Path("/opt"), Path("/opt/ml"))
    ):
        return "is a folder of the container's own system"
    if any(folder.is_relative_to(path) for folder in view.python_folders()):
        return "holds the Python that runs jobs here"
    return None


def check_texts(request: dict[str, Any]) -> None:
    """Raise ValidationException for a text that no process can be given."""
    for what, text in _given_to_the_container(request):
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise invalid(
                f"Invalid {what}. It holds a character that no process can be given: NUL, or half "
                "of a pair of UTF-16"
            )


def _given_to_the_container(request: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("Environment", "HyperParameters"):
        for key, value in request.get(name, {}).items():
            yield f"{name}: the value of {key}", value
    for name in ("ContainerEntrypoint", "ContainerArguments"):
        for text in request["AlgorithmSpecification"].get(name, []):
            yield name, text


def check_tags(tags: list[dict[str, str]]) -> None:
    """Raise ValidationException where a tag that orders interruptions holds no seconds."""
    try:
        spot.check_tags(tags)
    except ValueError as error:
        raise invalid(str(error)) from None


def check_image(request: dict[str, Any]) -> None:
    """Refuse a legacy image, which would fail the job minutes later.

    Raises:
        NotInStub: It is one.
    """
    uri = request["AlgorithmSpecification"]["TrainingImage"]
    if explanation := images.legacy(uri):
        raise NotInStub(f"The stub AWS does not run the legacy image {uri}: it is {explanation}.")


def check_distribution(request: dict[str, Any]) -> None:
    """Refuse a `distribution` of the SDK's that nothing here would start.

    Raises:
        NotInStub: The request asks for one.
    """
    for name, value in request.get("HyperParameters", {}).items():
        if name in DISTRIBUTIONS and value.strip('"').lower() == "true":
            raise NotInStub(
                f"The stub AWS cannot start a training job with distribution {DISTRIBUTIONS[name]} "
                f"(hyperparameter {name}). It starts torch_distributed, in the PyTorch image."
            )


def define_metrics(request: dict[str, Any]) -> None:
    """Give a job of the XGBoost image the metric definitions that SageMaker gives it.

    Raises:
        ApiError: It brings its own.
    """
    if not first_party.defines_metrics(request):
        return
    specification = request["AlgorithmSpecification"]
    if specification.get("MetricDefinitions"):
        raise invalid(first_party.CANNOT_OVERRIDE)
    specification["MetricDefinitions"] = first_party.metric_definitions()


def check_metrics(request: dict[str, Any]) -> None:
    """Raise ValidationException where the expression of a metric is none."""
    for definition in request["AlgorithmSpecification"].get("MetricDefinitions", []):
        try:
            Expression(definition["Regex"])
        except ValueError as error:
            raise invalid(
                f"Invalid MetricDefinitions. The Regex of the metric '{definition['Name']}' is not "
                f"a valid regular expression: {error}"
            ) from None
