"""With it, SageMaker's toolkit installs the folder as a package and runs `python -m train`."""

from setuptools import setup

setup(name="trains", version="1.0", py_modules=["train"], packages=["trains"])
