"""What the stub knows of SageMaker's training images: one table.

A real job runs inside the image that `AlgorithmSpecification.TrainingImage` names. The stub has no
images: an entry here says which framework stands in for it and how its container would start the
learner's script. Everything that `sagemaker-training` does (the toolkit inside AWS's images) is
then done by that very toolkit; what an image adds to it is a module in `containers/`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version


@dataclass(frozen=True)
class Image:
    """A family of training images.

    Attributes:
        repository: Its name in the registry, e.g. `sagemaker-xgboost`.
        package: The distribution that stands in for it here.
        framework: What people call it.
        training_module: What the toolkit calls to train (`SAGEMAKER_TRAINING_MODULE` in the image).
        port: On which the hosts of every job meet, where the image names one (`MASTER_PORT`).
    """

    repository: str
    package: str
    framework: str
    training_module: str
    port: int | None = None

    @property
    def installed(self) -> str | None:
        """The version of the framework here, or None when it is not installed."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None

    def difference(self, uri: str) -> str | None:
        """Return a sentence about the version here, where it is not that of the image's tag.

        A tag begins with the framework's version: `1.5-1` is XGBoost 1.5, `2.6-cpu-py312` is
        PyTorch 2.6.
        """
        tag = uri.rpartition(":")[2]
        asked, here = (re.match(r"\d+\.\d+", text) for text in (tag, self.installed or ""))
        if not asked or not here or asked[0] == here[0]:
            return None
        return (
            f"the image {self.repository}:{tag} carries {self.framework} {asked[0]}; "
            f"{self.framework} {self.installed} stands in for it here, and its numbers may differ"
        )


IMAGES = {
    image.repository: image
    for image in (
        Image("sagemaker-xgboost", "xgboost", "XGBoost", "xgboost_container:main"),
        Image("sagemaker-scikit-learn", "scikit-learn", "scikit-learn", "sklearn_container:main"),
        # from PyTorch 2.11 on, and up to 2.10
        Image("pytorch", "torch", "PyTorch", "pytorch_container:main", port=7777),
        Image("pytorch-training", "torch", "PyTorch", "pytorch_container:main", port=7777),
    )
}


# What AWS no longer patches and this stub does not run: repository -> what it is, and what to use.
LEGACY = {
    "xgboost": "XGBoost 0.72, the algorithm before it had versions. Use sagemaker-xgboost",
}


class UnknownImage(ValueError):
    """The stub has nothing that could stand in for this image."""


def find(uri: str) -> Image:
    """Return the entry for an image URI such as
    `683313688378.dkr.ecr.us-east-1.amazonaws.com/NAME:TAG`.

    Raises:
        UnknownImage: Its repository is not in the table; the message names those that are.
    """
    try:
        return IMAGES[repository_of(uri)]
    except KeyError:
        known = ", ".join(sorted(IMAGES))
        raise UnknownImage(
            f"The stub AWS has no stand-in for the image {uri}. It knows the repositories {known}."
        ) from None


def repository_of(uri: str) -> str:
    """Return the name of an image's repository."""
    return uri.rsplit("/", 1)[-1].split("@")[0].split(":")[0]


def legacy(uri: str) -> str | None:
    """Return what a legacy image is, and what to use instead; None for every other one."""
    return LEGACY.get(repository_of(uri))
