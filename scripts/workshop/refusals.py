"""Turn what AWS refuses or leaves unanswered into one sentence: the cause, and the remedy.

Importing is cheap: botocore is loaded by the functions that need it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class WorkshopError(RuntimeError):
    """Something a lesson needs is not there; the message says the cause and the remedy."""


POLICY = "scripts/notebook_instance/execution_role_policy.json"

# An answer to HEAD has no body, so S3 cannot say in it which permission was missing.
SILENT = {"HeadBucket": "s3:ListBucket", "HeadObject": "s3:GetObject"}

# How the services say that a key is unknown, wrong or no longer valid.
STALE = re.compile(
    r"ExpiredToken|RequestExpired|TokenRefreshRequired|InvalidClientTokenId|InvalidAccessKeyId"
    r"|UnrecognizedClient|SignatureDoesNotMatch|InvalidSignature|InvalidToken|AuthFailure"
    r"|MissingAuthenticationToken|RequestTimeTooSkewed"
)


def failures() -> tuple[type[Exception], ...]:
    """Return what a call to AWS can raise: a refusal, no answer, an answer that is none."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return ClientError, BotoCoreError, ResponseParserError


def code_of(error: Exception) -> str:
    """Return AWS's code of a refusal; nothing where it is another failure."""
    from botocore.exceptions import ClientError

    return error.response["Error"]["Code"] if isinstance(error, ClientError) else ""


def missing_permission(error: Any) -> str | None:
    """Return the action that a refusal (botocore's ClientError) says is not allowed, and on what.

    None where the refusal has another cause. AWS's sentence is "User: … is not authorized to
    perform: ACTION on resource: ARN because …"; where it is shorter, the operation is named.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code not in ("403", "AccessDenied", "AccessDeniedException", "UnauthorizedOperation"):
        return None
    return named_in(message) or SILENT.get(error.operation_name, f"to call {error.operation_name}")


def if_permitted(call: Callable[..., T], *arguments: Any, **request: Any) -> T | None:
    """Return what a call to AWS returns; None, and a printed sentence, where the role may not.

    For what a lesson shows and can do without, so that it also works under a smaller policy.
    """
    from botocore.exceptions import ClientError

    try:
        return call(*arguments, **request)
    except ClientError as error:
        permission = missing_permission(error)
        if not permission:
            raise
        print(f"skipped: your role lacks the permission {permission}")
        return None


def named_in(message: str) -> str | None:
    """Return the action that AWS's sentence does not allow, with its resource where one is named.

    None where it is another sentence.
    """
    named = re.search(r"not authorized to perform:? (\S+)(?: on resource: \"?([^\s\"]+))?", message)
    if not named:
        return None
    return f"{named[1]} on {named[2]}" if named[2] else named[1]


def reason(error: Exception) -> str:
    """Return the cause of one of `failures()`, a full stop, and the remedy without one."""
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, ClientError):
        return _refusal(error)
    if isinstance(error, BotoCoreError):
        return _no_answer(error)
    return f"what answers is not AWS ({_one_line(error)}). Look for a proxy or a login page between"


def _refusal(error: Any) -> str:
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if permission := missing_permission(error):
        return f"your role lacks the permission {permission}. Add it as in {POLICY}"
    if code == "400" and error.operation_name in SILENT:
        return "S3 refuses without a reason, as it does for old AWS credentials. Sign in again"
    if STALE.match(code):
        return f"your AWS credentials are not valid, or not any more ({code}). Sign in again"
    return f"{code}, {_one_line(message)}. Remedy that"


def _no_answer(error: Any) -> str:
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import HTTPClientError

    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return (
            "no AWS credentials were found. Set an account up with `aws configure`, or sign in "
            "with `aws sso login`"
        )
    if isinstance(error, NoConnection | HTTPClientError):
        return (
            f"AWS does not answer ({_one_line(error)}). Look at the network and the region's name"
        )
    return f"{_one_line(error)}. Remedy that"


def _one_line(text: object) -> str:
    return " ".join(str(text).split()).rstrip(".")
