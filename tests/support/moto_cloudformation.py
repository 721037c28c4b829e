"""Lets moto's CloudFormation make what the workshop's template says, where moto drops it silently.

moto 5.2.5 makes a bucket with its encryption and tags alone, a notebook instance with its type and
role alone and under a name of its own, a role's policies as Python's text instead of JSON, and of
a bucket's policy nothing; and it knows one DeletionPolicy alone. `extend` adds the rest by moto's
own backends. A bucket's policy is kept but not enforced: moto would deny by it whatever its
condition says.
"""

from __future__ import annotations

import json
from typing import Any

from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel
from moto.iam.models import Role
from moto.s3.models import FakeBucket, s3_backends
from moto.sagemaker.models import (
    FakeSagemakerNotebookInstance,
    sagemaker_backends,
)


class BucketPolicy(CloudFormationModel):
    """AWS::S3::BucketPolicy as a record of what the template says."""

    def __init__(self, properties: dict[str, Any]) -> None:
        self.properties = properties

    @property
    def physical_resource_id(self) -> str:
        return self.properties["Bucket"]

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::S3::BucketPolicy"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, *_: Any, **__: Any
    ) -> BucketPolicy:
        return cls(cloudformation_json["Properties"])

    @classmethod
    def delete_from_cloudformation_json(cls, *_: Any, **__: Any) -> None:
        """There is nothing but the record."""


def extend() -> None:
    """Extend moto in this process; once is enough, and twice does no harm."""
    if FakeSagemakerNotebookInstance.cloudformation_name_type() == "NotebookInstanceName":
        return
    FakeSagemakerNotebookInstance.cloudformation_name_type = staticmethod(
        lambda: "NotebookInstanceName"
    )
    FakeSagemakerNotebookInstance.create_from_cloudformation_json = classmethod(_make_instance)
    FakeSagemakerNotebookInstance.delete_from_cloudformation_json = classmethod(_delete_instance)
    plain_bucket = FakeBucket.create_from_cloudformation_json.__func__

    def make_bucket(
        cls: type, name: str, template: Any, account: str, region: str, **more: Any
    ) -> FakeBucket:
        bucket = plain_bucket(cls, name, template, account, region, **more)
        _complete_bucket(name, template.get("Properties", {}), account)
        return bucket

    FakeBucket.create_from_cloudformation_json = classmethod(make_bucket)
    plain_role = Role.create_from_cloudformation_json.__func__

    def make_role(
        cls: type, name: str, template: Any, account: str, region: str, **more: Any
    ) -> Role:
        for policy in template["Properties"]["Policies"]:
            policy["PolicyDocument"] = json.dumps(policy["PolicyDocument"])
        return plain_role(cls, name, template, account, region, **more)

    Role.create_from_cloudformation_json = classmethod(make_role)
    plain_deletion = parsing.ResourceMap.delete

    def delete(self: parsing.ResourceMap) -> None:
        for resource in self._resource_json_map.values():
            if resource.get("DeletionPolicy") == "RetainExceptOnCreate":
                resource["DeletionPolicy"] = "Retain"  # its creation did not fail
        plain_deletion(self)

    parsing.ResourceMap.delete = delete
    for cached in (parsing.get_model_list, parsing.get_model_map, parsing.get_name_type_map):
        cached.cache_clear()


def _complete_bucket(name: str, properties: dict[str, Any], account: str) -> None:
    backend = s3_backends[account]["aws"]
    if block := properties.get("PublicAccessBlockConfiguration"):
        backend.put_public_access_block(name, block)
    rules = []
    for rule in properties.get("LifecycleConfiguration", {}).get("Rules", []):
        # CloudFormation's words for the rules of S3's API.
        rules.append({"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": ""}})
        if "ExpirationInDays" in rule:
            rules[-1]["Expiration"] = {"Days": rule["ExpirationInDays"]}
        if upload := rule.get("AbortIncompleteMultipartUpload"):
            rules[-1]["AbortIncompleteMultipartUpload"] = upload
    backend.put_bucket_lifecycle_configuration(name, rules)


def _make_instance(
    _cls: type, name: str, template: Any, account: str, region: str, **_: Any
) -> FakeSagemakerNotebookInstance:
    properties = template["Properties"]
    backend = sagemaker_backends[account][region]
    configuration = properties["LifecycleConfigName"]
    if configuration not in backend.notebook_instance_lifecycle_configurations:
        raise ValueError(f"there is no lifecycle configuration {configuration}")
    return backend.create_notebook_instance(
        notebook_instance_name=name,
        instance_type=properties["InstanceType"],
        role_arn=properties["RoleArn"],
        tags=properties["Tags"],
        lifecycle_config_name=configuration,
        direct_internet_access=properties["DirectInternetAccess"],
        volume_size_in_gb=int(properties["VolumeSizeInGB"]),
        root_access=properties["RootAccess"],
    )


def _delete_instance(_cls: type, arn: str, _template: Any, account: str, region: str) -> None:
    """As AWS does: what is not stopped cannot be deleted."""
    backend = sagemaker_backends[account][region]
    backend.delete_notebook_instance(arn.rpartition("/")[2])
