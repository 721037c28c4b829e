"""Checks a request against botocore's model of the API and complains in AWS's words.

botocore checks types and required members before it sends; patterns, enums and upper bounds are
left to the service. This is the service's side: every constraint that the model states, found by
walking the request beside its shape.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import regex
from botocore.model import Shape


def validation_message(request: Any, shape: Shape) -> str | None:
    """Return what AWS would say about `request`, or None when it keeps every constraint of
    `shape`."""
    errors = list(_violations(request, shape, path=""))
    if not errors:
        return None
    noun = "error" if len(errors) == 1 else "errors"
    return f"{len(errors)} validation {noun} detected: " + "; ".join(errors)


def _violations(value: Any, shape: Shape, path: str) -> Iterator[str]:
    if shape.type_name == "structure":
        yield from _structure(value, shape, path)
    elif shape.type_name == "list":
        yield from _length(value, shape, path, len(value))
        for position, item in enumerate(value, start=1):
            yield from _violations(item, shape.member, f"{path}.{position}.member")
    elif shape.type_name == "map":
        yield from _length(value, shape, path, len(value))
        yield from _map(value, shape, path)
    elif shape.type_name == "string":
        yield from _string(value, shape, path)
    elif shape.type_name in ("integer", "long", "float", "double"):
        yield from _number(value, shape, path)


def _structure(value: dict[str, Any], shape: Shape, path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield _failed(None, _join(path, name), "Member must not be null")
    for name, member in value.items():
        if name in shape.members and member is not None:
            yield from _violations(member, shape.members[name], _join(path, name))


def _map(value: dict[str, Any], shape: Shape, path: str) -> Iterator[str]:
    """Complain once of all keys and once of all values, as AWS does of maps."""
    for word, items, of in (("keys", value, shape.key), ("value", value.values(), shape.value)):
        if any(list(_violations(item, of, path)) for item in items):
            shown = "{" + ", ".join(f"{key}={item}" for key, item in value.items()) + "}"
            rules = ", ".join(_constraints(of))
            yield _failed(shown, path, f"Map {word} must satisfy constraint: [{rules}]")


def _constraints(shape: Shape) -> Iterator[str]:
    """Yield every constraint of a text, in AWS's order."""
    for name, word in (("max", "less"), ("min", "greater")):
        if (bound := shape.metadata.get(name)) is not None:
            yield f"Member must have length {word} than or equal to {bound}"
    if pattern := shape.metadata.get("pattern"):
        yield f"Member must satisfy regular expression pattern: {pattern}"


def _string(value: str, shape: Shape, path: str) -> Iterator[str]:
    yield from _length(value, shape, path, len(value))
    if shape.enum and value not in shape.enum:
        options = ", ".join(shape.enum)
        yield _failed(value, path, f"Member must satisfy enum value set: [{options}]")
    pattern = shape.metadata.get("pattern")
    if pattern and not _compiled(pattern).fullmatch(value):
        yield _failed(value, path, f"Member must satisfy regular expression pattern: {pattern}")


@functools.cache
def _compiled(pattern: str) -> regex.Pattern[str]:
    # The model's patterns are Java's, which know \\p{L}; Python's re does not.
    return regex.compile(pattern)


def _length(value: Any, shape: Shape, path: str, length: int) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and length < low:
        yield _failed(value, path, f"Member must have length greater than or equal to {low}")
    if high is not None and length > high:
        yield _failed(value, path, f"Member must have length less than or equal to {high}")


def _number(value: float, shape: Shape, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and value < low:
        yield _failed(value, path, f"Member must have value greater than or equal to {low}")
    if high is not None and value > high:
        yield _failed(value, path, f"Member must have value less than or equal to {high}")


def _failed(value: Any, path: str, constraint: str) -> str:
    shown = "null" if value is None else f"'{value}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def _join(path: str, name: str) -> str:
    name = name[0].lower() + name[1:]  # AWS writes members in camelCase here
    return f"{path}.{name}" if path else name
