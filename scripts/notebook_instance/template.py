"""Assembles the workshop's CloudFormation template from the files of notebook_instance/.

The template names each file that it is made of as ``Workshop::File``; none of them is a manual
copy, so the role on AWS has the same policy that the tests enforce.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
TEMPLATE = FOLDER / "template.yaml"
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
MOST_BYTES = 51_200  # of a template that is sent with the call
MARK = "Workshop::File"


def compose() -> dict[str, Any]:
    """Return the complete template, as CloudFormation takes it."""
    import yaml  # only here: the command for the instance's status does not need it

    return _filled(yaml.safe_load(TEMPLATE.read_text(encoding="utf-8")))


def body() -> str:
    """Return the complete template as it is sent; raises ValueError when it is too long."""
    text = json.dumps(compose())
    if len(text.encode()) > MOST_BYTES:
        raise ValueError(f"The template has {len(text)} characters, and may have {MOST_BYTES}.")
    return text


def _filled(node: Any) -> Any:
    if isinstance(node, dict):
        if set(node) == {MARK}:
            return _content(FOLDER / node[MARK])
        return {key: _filled(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value) for value in node]
    return node


def _content(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return _substituted(json.loads(text)) if path.suffix == ".json" else text


def _substituted(node: Any) -> Any:
    # The policy documents write their parameters as Fn::Sub does.
    if isinstance(node, dict):
        return {key: _substituted(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_substituted(value) for value in node]
    if isinstance(node, str) and "${" in node:
        return {"Fn::Sub": node}
    return node
