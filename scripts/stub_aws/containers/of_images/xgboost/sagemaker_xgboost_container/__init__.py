"""What scripts for SageMaker's XGBoost image import from it, in an implementation of our own.

The image's package of this name holds the built-in algorithm, and the helpers that AWS's own
examples use in script mode: reading data, meeting of hosts, checkpoints, decoding of requests.
"""
