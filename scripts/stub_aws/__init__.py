"""A stand-in for AWS on the loopback address that runs SageMaker training jobs for real.

For programs: `python -m stub_aws COMMAND...`. For tests: the fixture `stub_aws`.
"""
