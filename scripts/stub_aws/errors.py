"""Errors of SageMaker's API, in AWS's words."""

from __future__ import annotations

from moto.core.exceptions import ServiceException


class ApiError(ServiceException):
    """An error of SageMaker's API; moto looks one of ours up in the service's own model."""


class NotInStub(Exception):
    """Something of SageMaker's that nobody wrote yet; the message names it."""


def invalid(message: str) -> ApiError:
    """Return AWS's error for a request that breaks a rule."""
    return ApiError("ValidationException", message)
