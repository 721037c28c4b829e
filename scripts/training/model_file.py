"""The file of a trained network: weights, and beside them what it learnt of the data.

    data = model_file.to_bytes(net)
    net = model_file.load(path)         # refused if it was trained on other features

Nothing in the file is ever executed.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import titanic
from checkpoints import UNREADABLE

if TYPE_CHECKING:
    import torch

    from network import Network


def to_bytes(net: Network, layers: Mapping[str, torch.Tensor] | None = None) -> bytes:
    """Return the content of the file, the same bytes for the same network.

    ``layers`` are the weights to save in place of those that the network's layers have now.
    """
    import torch

    state = net.state_dict()
    for name, weights in (layers or {}).items():
        state[f"layers.{name}"] = weights
    for name in state:
        state[name] = state[name].cpu()
    file = io.BytesIO()
    content = {
        "shape": net.shape._asdict(),
        "features": list(titanic.FEATURES),
        "categories": {name: list(values) for name, values in titanic.CATEGORIES.items()},
        "state": state,
    }
    torch.save(content, file)
    return file.getvalue()


def load(path: Path) -> Network:
    """Load a network, ready to predict, on the CPU.

    Raises titanic.DataError if it cannot be read, or was trained on other features.
    """
    import torch

    from network import Network, Shape

    now = (
        list(titanic.FEATURES),
        {name: list(values) for name, values in titanic.CATEGORIES.items()},
    )
    try:
        model = torch.load(path, map_location="cpu", weights_only=True)
        then = model["features"], model["categories"]
        if then == now:
            net = Network(Shape(**model["shape"]))
            net.load_state_dict(model["state"])
    except (*UNREADABLE, TypeError) as error:
        raise titanic.DataError(
            f"{path}: PyTorch {torch.__version__} cannot read this model; it may be damaged, or "
            "another script's"
        ) from error
    if then != now:
        raise titanic.DataError(
            f"{path}: trained on the features {then[0]} and the categories {then[1]}, but "
            f"titanic.py now makes {now[0]} and {now[1]}; train again"
        )
    return net.eval()
