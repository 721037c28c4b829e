"""From a request's body to an array."""

from sagemaker_training.encoders import csv_to_numpy, decode, json_to_numpy, npy_to_numpy

__all__ = ["csv_to_numpy", "decode", "json_to_numpy", "npy_to_numpy"]
