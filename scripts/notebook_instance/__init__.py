"""Sets a real notebook instance up on AWS; `python -m notebook_instance.instance --help`."""
