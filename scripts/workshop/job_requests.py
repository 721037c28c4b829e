"""The CreateTrainingJob requests of the two versions of the SDK, side by side and explained.

    made = job_requests.record(session)      # from here on each request is appended to it
    rows = job_requests.differences(old, new)

Both versions end in one call of AWS's API. What differs between their calls is in `EXPECTED`, and
nothing else may: a difference that no entry explains has an empty explanation, which lesson 10 and
the tests look for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from workshop.sdk_version import Session

EVENT = "provide-client-params.sagemaker.CreateTrainingJob"
NAMED_BY = ("ChannelName", "Key", "Name")  # what tells the items of a list apart
SHOWN = 40  # characters of a value


class Expected(NamedTuple):
    """A difference that we know: fields, whose request has them, and why."""

    fields: str  # a pattern
    which: str  # "old", "new" or "both"
    why: str


_SCRIPT = "AlgorithmSpecification.Container"
_START = "3 starts a shell script of its own, and not the image's toolkit"
_DEFAULT = "AWS's default, written out"
EXPECTED = (
    Expected("TrainingJobName", "both", "2 adds the time to the millisecond, 3 to the second"),
    Expected(f"{_SCRIPT}Entrypoint", "new", _START),
    Expected(f"{_SCRIPT}Arguments", "new", _START),
    Expected("InputDataConfig[[]sm_drivers].*", "new", "a channel of 3 that holds that script"),
    Expected("InputDataConfig[[]code].*", "new", "a channel of 3 with your source_dir"),
    Expected("HyperParameters.sagemaker_*", "old", "2 says here where your code is, and its start"),
    Expected("HyperParameters.*", "both", "2 sends a text as JSON, in quotes; 3 as it is"),
    Expected("InputDataConfig[[]*].InputMode", "new", _DEFAULT),
    Expected("OutputDataConfig.CompressionType", "new", _DEFAULT),
    Expected("CheckpointConfig.LocalPath", "new", _DEFAULT),
    Expected("DebugHookConfig.*", "old", "2 asks for Debugger, with nothing to collect"),
    Expected(
        "ProfilerConfig.*", "old", "2 asks for the profiler, or says that it does not want it"
    ),
)


class Difference(NamedTuple):
    """A field that two requests do not have alike; None where a request does not have it."""

    field: str
    old: Any
    new: Any
    why: str


def record(session: Session) -> list[dict[str, Any]]:
    """Return a list to which every CreateTrainingJob request of this session is appended.

    A client takes over what its session listens to when it is made, so both are asked: the session
    for clients to come, and the SDK's own client, which is there already.
    """
    made: list[dict[str, Any]] = []

    def append(params: dict[str, Any], **_: Any) -> None:
        made.append(params)

    session.boto_session.events.register(EVENT, append)
    session.sagemaker_client.meta.events.register(EVENT, append)
    return made


def fields(request: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every field of a request with its value: `ResourceConfig.InstanceCount`, 1.

    The items of a list have their names in brackets: `InputDataConfig[train].ContentType`.
    """
    if isinstance(request, Mapping):
        for key, value in request.items():
            yield from fields(value, f"{name}.{key}" if name else key)
    elif isinstance(request, list) and request and isinstance(request[0], Mapping):
        for item in request:
            (key,) = (key for key in NAMED_BY if key in item)
            rest = {other: value for other, value in item.items() if other != key}
            yield from fields(rest, f"{name}[{item[key]}]")
    else:
        yield name, request


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Return what differs between a request of version 2 and one of version 3, and why."""
    before, after = dict(fields(old)), dict(fields(new))
    return [
        Difference(name, before.get(name), after.get(name), _why(name, before, after))
        for name in sorted(before.keys() | after.keys())
        if name not in before or name not in after or before[name] != after[name]
    ]


def _why(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    which = "both" if name in before and name in after else "old" if name in before else "new"
    fitting = (e for e in EXPECTED if e.which == which and fnmatchcase(name, e.fields))
    entry = next(fitting, None)
    if entry is None:
        return ""
    if name.startswith("HyperParameters.") and which == "both":
        return entry.why if _is_only_quoted(before[name], after[name]) else ""
    return entry.why


def _is_only_quoted(old: str, new: str) -> bool:
    try:
        return bool(json.loads(old) == new)
    except ValueError:
        return False


def by_reason(rows: list[Difference]) -> list[dict[str, str]]:
    """Return differences for people: one row for each reason, with the first of its fields."""
    by_cause: dict[str, dict[str, str]] = {}
    for row in rows:
        line = by_cause.setdefault(
            row.why, {"field": row.field, "SDK 2": shown(row.old), "SDK 3": shown(row.new)}
        )
        line["why"] = row.why
    return list(by_cause.values())


def shown(value: Any) -> str:
    """Return a value as a short text; nothing where there is none."""
    text = "" if value is None else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
