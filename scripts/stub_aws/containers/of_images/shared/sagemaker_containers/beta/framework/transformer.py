"""What an endpoint does for a script that defines no `input_fn`, `predict_fn` or `output_fn`."""

from __future__ import annotations

from typing import Any

from sagemaker_training import encoders

from . import worker


def default_model_fn(model_dir: str) -> Any:
    """Raise NotImplementedError: only a script knows how its model is loaded."""
    raise NotImplementedError(
        "Please provide a model_fn implementation. See documentation for model_fn at "
        "https://sagemaker.readthedocs.io/en/stable/"
    )


def default_input_fn(input_data: Any, content_type: str) -> Any:
    """Return a request's body as an array."""
    return encoders.decode(input_data, content_type)


def default_predict_fn(data: Any, model: Any) -> Any:
    """Return the model's predictions."""
    return model(data)


def default_output_fn(prediction: Any, accept: str) -> worker.Response:
    """Return the predictions as the client accepts them."""
    return worker.Response(response=encoders.encode(prediction, accept), accept=accept)
