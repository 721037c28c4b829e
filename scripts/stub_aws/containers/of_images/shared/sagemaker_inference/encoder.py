"""From an array to an answer's body."""

from sagemaker_training.encoders import array_to_csv, array_to_json, array_to_npy, encode

__all__ = ["array_to_csv", "array_to_json", "array_to_npy", "encode"]
