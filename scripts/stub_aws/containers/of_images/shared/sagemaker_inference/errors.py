"""Errors by their names in the toolkit."""

from sagemaker_training.errors import UnsupportedFormatError

__all__ = ["UnsupportedFormatError"]
