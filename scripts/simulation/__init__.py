"""Draws the passenger list of the lessons; `python -m simulation.make_titanic --help`."""
