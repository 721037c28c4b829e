"""Checks every request's signature and the caller's IAM policies, before any other part reads it.

moto has the users, roles and policies and can verify a signature. But it evaluates policies without
their resources and conditions, and those are most of what there is to learn about IAM. So this gate
comes before it: it names the action and the resource of each request as AWS's service authorization
reference does, evaluates the caller's identity-based policies, and denies with AWS's sentences.
Bucket policies, permission boundaries, session policies and organisations are not modelled.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

from moto.iam import access_control

from . import signatures
from .account import ACCOUNT_ID, account_of
from .wsgi import Environ, WSGIApp, error_response, read_body


@dataclass(frozen=True)
class Permission:
    """One action on one resource, with the condition keys that the request carries."""

    action: str
    resource: str
    context: dict[str, str] = field(default_factory=dict)


class Denied(Exception):
    """The request is refused with AWS's error `code` and `message`."""

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class Gate:
    """WSGI middleware that lets through what the caller's policies allow.

    Args:
        app: What a request goes on to.
        account_id: The account whose users and roles may ask.

    Attributes:
        used: The (role, action) pairs that were asked for and allowed; no role is "" (a user).
    """

    def __init__(self, app: WSGIApp, account_id: str = ACCOUNT_ID) -> None:
        self._app = app
        self._account_id = account_id
        self.used: set[tuple[str, str]] = set()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Any:
        try:
            caller = authenticate(environ, self._account_id)
            for permission in required_permissions(environ, caller):
                authorize(caller, permission)
                self.used.add((caller.role, permission.action))
        except Denied as denied:
            return error_response(environ, denied.status, denied.code, denied.message)(
                environ, start_response
            )
        # moto guesses it from a request, and not from one that is signed in its URL.
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = self._account_id
        return self._app(environ, start_response)


@dataclass(frozen=True)
class Caller:
    """The identity behind a request's credentials."""

    arn: str
    service: str
    region: str
    policies: list[dict[str, Any]]

    @property
    def account(self) -> str:
        """Return the number of the account that the identity belongs to."""
        return account_of(self.arn)

    @property
    def role(self) -> str:
        """Return the name of the assumed role; "" for a user."""
        kind, _, rest = self.arn.rpartition(":")[2].partition("/")
        return rest.partition("/")[0] if kind == "assumed-role" else ""


def authenticate(environ: Environ, account_id: str) -> Caller:
    """Find the caller of a request and verify its signature (Signature Version 4).

    Raises:
        Denied: Unsigned, an unknown key, a stale token, or a signature that does not match.
    """
    signature = signatures.find(environ)
    if signature is None:
        # S3 has anonymous requests: it treats this as a caller without any policy.
        if "HTTP_X_AMZ_TARGET" in environ or environ["PATH_INFO"] == "/":
            raise Denied("MissingAuthenticationToken", "Missing Authentication Token")
        raise Denied("AccessDenied", "Access Denied")
    token = {"X-Amz-Security-Token": signature.token} if signature.token else {}
    try:
        access_key = access_control.create_access_key(
            account_id, "aws", signature.access_key, token
        )
    except access_control.CreateAccessKeyFailure:
        raise _unknown_key(signature.service) from None
    if signature.expired:
        raise Denied("AccessDenied", "Request has expired")
    if not signature.matches(environ, access_key.create_credentials()):
        raise Denied(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )
    return Caller(access_key.arn, signature.service, signature.region, _documents(access_key))


def _unknown_key(service: str) -> Denied:
    if service == "s3":
        return Denied(
            "InvalidAccessKeyId",
            "The AWS Access Key Id you provided does not exist in our records.",
        )
    code = "InvalidClientTokenId" if service in ("iam", "sts") else "UnrecognizedClientException"
    return Denied(code, "The security token included in the request is invalid.")


def _documents(access_key: Any) -> list[dict[str, Any]]:
    """Return the identity-based policy documents of a user or assumed role."""
    return [
        access_control.IAMPolicy(policy)._policy_json  # moto has no public way to the document
        for policy in access_key.collect_policies()
    ]


def authorize(caller: Caller, permission: Permission) -> None:
    """Let `permission` pass or say why not.

    Raises:
        Denied: An explicit deny, or no statement that allows it.
    """
    if permission.action == "sts:GetCallerIdentity":  # always allowed, even against a deny
        return
    effects = {
        statement["Effect"]
        for document in caller.policies
        for statement in _as_list(document["Statement"])
        if applies(statement, permission)
    }
    if effects == {"Allow"}:
        return
    why = (
        f"with an explicit deny in an identity-based policy: {permission.action}"
        if "Deny" in effects
        else f"because no identity-based policy allows the {permission.action} action"
    )
    code = "AccessDenied" if caller.service in ("s3", "iam", "sts") else "AccessDeniedException"
    resource = permission.resource
    quoted = f'"{resource}"' if caller.service == "s3" else resource
    raise Denied(
        code,
        f"User: {caller.arn} is not authorized to perform: {permission.action} "
        f"on resource: {quoted} {why}",
    )


def allows(policies: list[dict[str, Any]], permission: Permission) -> bool:
    """Return whether these policy documents allow a permission."""
    try:
        authorize(Caller("", "", "", policies), permission)
    except Denied:
        return False
    return True


def applies(statement: dict[str, Any], permission: Permission) -> bool:
    """Return whether a policy statement applies to this action, resource and context."""
    if "NotAction" in statement:
        if _matches(statement["NotAction"], permission.action, ignore_case=True):
            return False
    elif not _matches(statement["Action"], permission.action, ignore_case=True):
        return False
    if "NotResource" in statement:
        if _matches(statement["NotResource"], permission.resource):
            return False
    elif not _matches(statement["Resource"], permission.resource):
        return False
    return all(
        _condition_holds(operator, key, expected, permission.context)
        for operator, keys in statement.get("Condition", {}).items()
        for key, expected in keys.items()
    )


def _condition_holds(operator: str, key: str, expected: Any, context: dict[str, str]) -> bool:
    actual = context.get(key)
    if operator == "Null":
        return str(expected).lower() == str(actual is None).lower()
    if actual is None:  # a negated operator holds where the request has no such key
        return operator.endswith("IfExists") or "Not" in operator or "ForAllValues:" in operator
    match operator.removesuffix("IfExists"):
        case "StringEquals" | "ArnEquals":
            return actual in _as_list(expected)
        case "StringNotEquals" | "ArnNotEquals":
            return actual not in _as_list(expected)
        case "StringEqualsIgnoreCase":
            return actual.lower() in [value.lower() for value in _as_list(expected)]
        case "StringLike" | "ArnLike":
            return _matches(expected, actual)
        case "StringNotLike" | "ArnNotLike":
            return not _matches(expected, actual)
        case _:
            raise Denied(
                "NotImplemented", f"The stub AWS does not know the policy condition {operator}."
            )


def _matches(patterns: str | list[str], value: str, *, ignore_case: bool = False) -> bool:
    if ignore_case:
        value = value.lower()
        patterns = [pattern.lower() for pattern in _as_list(patterns)]
    # In a policy only * and ? are special; fnmatch would also read [ ] as a character class.
    return any(
        fnmatch.fnmatchcase(value, pattern.replace("[", "[[]")) for pattern in _as_list(patterns)
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# ---- What a request asks for, by service -------------------------------------------------------


def required_permissions(environ: Environ, caller: Caller) -> Iterator[Permission]:
    """Yield the permissions that AWS would require for this request."""
    if caller.service == "s3":
        yield from _s3_permissions(environ)
    elif target := environ.get("HTTP_X_AMZ_TARGET"):
        body = json.loads(read_body(environ) or b"{}")
        yield from _json_permissions(caller, target.rpartition(".")[2], body)
    else:
        form = parse_qs(read_body(environ).decode() or environ.get("QUERY_STRING", ""))
        yield from _query_permissions(caller, {key: values[0] for key, values in form.items()})


def _json_permissions(caller: Caller, operation: str, body: dict[str, Any]) -> Iterator[Permission]:
    prefix = {"monitoring": "cloudwatch"}.get(caller.service, caller.service)
    action = f"{prefix}:{operation}"
    if caller.service == "sagemaker":
        yield Permission(action, _sagemaker_resource(caller, body))
        yield from _also_needed(caller, operation, body)
    elif caller.service == "logs":
        yield Permission(action, _log_resource(caller, body))
    elif "Namespace" in body:
        yield Permission(action, "*", {"cloudwatch:namespace": body["Namespace"]})
    else:
        yield Permission(action, "*")


def _sagemaker_resource(caller: Caller, body: dict[str, Any]) -> str:
    arn = f"arn:aws:sagemaker:{caller.region}:{caller.account}"
    if "ResourceArn" in body:
        return str(body["ResourceArn"])
    for member, kind in (
        ("TrainingJobName", "training-job"),
        ("NotebookInstanceName", "notebook-instance"),
    ):
        if member in body:
            return f"{arn}:{kind}/{str(body[member]).lower()}"
    return "*"


def _also_needed(caller: Caller, operation: str, body: dict[str, Any]) -> Iterator[Permission]:
    """Yield what CreateTrainingJob needs besides: to pass a role to SageMaker, and to add tags."""
    if operation == "CreateTrainingJob":
        if role := body.get("RoleArn"):
            passed_to = {"iam:PassedToService": "sagemaker.amazonaws.com"}
            yield Permission("iam:PassRole", role, passed_to)
        if body.get("Tags"):
            yield Permission("sagemaker:AddTags", _sagemaker_resource(caller, body))


def _log_resource(caller: Caller, body: dict[str, Any]) -> str:
    group = body.get("logGroupName") or body.get("logGroupNamePrefix") or "*"
    arn = f"arn:aws:logs:{caller.region}:{caller.account}:log-group:{group}"
    stream = body.get("logStreamName", "*" if group == "*" else "")
    return f"{arn}:log-stream:{stream}"


def _query_permissions(caller: Caller, form: dict[str, str]) -> Iterator[Permission]:
    prefix = {"monitoring": "cloudwatch"}.get(caller.service, caller.service)
    resource = form.get("RoleArn", "*")
    if caller.service == "iam" and "RoleName" in form:
        resource = f"arn:aws:iam::{caller.account}:role/{form['RoleName']}"
    yield Permission(f"{prefix}:{form.get('Action', 'Unknown')}", resource)


# Sub-resources of a bucket or an object, as in the query string -> their action's name.
_S3_SUBRESOURCES = {
    "location": "BucketLocation",
    "tagging": "BucketTagging",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "versioning": "BucketVersioning",
    "policy": "BucketPolicy",
    "acl": "BucketAcl",
    "ownershipControls": "BucketOwnershipControls",
    "policyStatus": "BucketPolicyStatus",
}


def _s3_permissions(environ: Environ) -> Iterator[Permission]:
    bucket, _, key = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")
    method = environ["REQUEST_METHOD"]
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    if not bucket:
        yield Permission("s3:ListAllMyBuckets", "*")
    elif key:
        yield from _s3_object_permissions(environ, method, query, f"arn:aws:s3:::{bucket}/{key}")
    elif method == "POST" and "delete" in query:
        yield from _s3_deletions(bucket, read_body(environ))
    else:
        action = _s3_bucket_action(method, query)
        yield Permission(action, f"arn:aws:s3:::{bucket}")
        if action == "s3:CreateBucket" and _named(_parse(read_body(environ)), "Tag"):
            yield Permission("s3:TagResource", f"arn:aws:s3:::{bucket}")


def _s3_deletions(bucket: str, body: bytes) -> Iterator[Permission]:
    for wanted in _named(_parse(body), "Object"):
        (key,) = _named(wanted, "Key")
        version = "Version" if _named(wanted, "VersionId") else ""
        yield Permission(f"s3:DeleteObject{version}", f"arn:aws:s3:::{bucket}/{key.text}")


def _parse(body: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(body or b"<Nothing/>")  # noqa: S314 - loopback
    except ElementTree.ParseError:
        raise Denied(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published "
            "schema",
            status=400,
        ) from None


def _named(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Return the elements of a name below one, in whatever namespace."""
    return [one for one in element.iter() if one.tag.rpartition("}")[2] == name]


def _s3_bucket_action(method: str, query: dict[str, list[str]]) -> str:
    for name, resource in _S3_SUBRESOURCES.items():
        if name in query:
            # To delete a bucket's tags, encryption or lifecycle needs the permission to put them.
            return f"s3:{'Get' if method in ('GET', 'HEAD') else 'Put'}{resource}"
    if "uploads" in query:
        return "s3:ListBucketMultipartUploads"
    if "versions" in query:
        return "s3:ListBucketVersions"
    plain = {"PUT": "s3:CreateBucket", "DELETE": "s3:DeleteBucket"}
    return plain.get(method, "s3:ListBucket")


def _s3_object_permissions(
    environ: Environ, method: str, query: dict[str, list[str]], resource: str
) -> Iterator[Permission]:
    if "tagging" in query:
        verb = "Get" if method == "GET" else "Put" if method == "PUT" else "Delete"
        yield Permission(f"s3:{verb}ObjectTagging", resource)
    elif method in ("GET", "HEAD"):
        yield Permission(
            "s3:ListMultipartUploadParts" if "uploadId" in query else "s3:GetObject", resource
        )
    elif method == "DELETE":
        version = "Version" if "versionId" in query else ""
        aborts = "uploadId" in query
        action = "s3:AbortMultipartUpload" if aborts else f"s3:DeleteObject{version}"
        yield Permission(action, resource)
    else:
        yield Permission("s3:PutObject", resource)
        if source := environ.get("HTTP_X_AMZ_COPY_SOURCE"):
            path = unquote(source).lstrip("/").partition("?")[0]
            yield Permission("s3:GetObject", f"arn:aws:s3:::{path}")
