"""The answer."""

ANSWER = 42
