"""Deploys a transformed template: moto creates what it can, the rest is resolved here for the other parts to act on."""

# ruff: noqa: ANN401 - values of templates, events and answers are of any shape

from __future__ import annotations

import hashlib
import io
import json
import uuid
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.errors import TemplateError, invalid
from local.intrinsics import UNRESOLVED, Evaluator, Scope, is_concrete
from local.moto_backend import ACCOUNT_ID, PARTITION, MotoBackend
from local.resources import MOTO_TYPES, OWN_TYPES, check_supported
from local.rules import check_rules
from local.sam import CODE_BUCKET, CloudFormationTemplate, CodeSource, transform_template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from local.clients import Clients
    from local.iam import Call


@dataclass(frozen=True)
class Resource:
    """One deployed resource: its properties hold no intrinsic function any more."""

    logical_id: str
    kind: str
    properties: Mapping[str, Any]
    physical_id: str

    def __getitem__(self, name: str) -> Any:
        try:
            return self.properties[name]
        except KeyError as error:
            raise invalid(self.logical_id, f"the property {name} is missing.") from error

    def get(self, name: str, default: Any = None) -> Any:
        """Return a property, or the default where the template does not name it."""
        return self.properties.get(name, default)


@dataclass(frozen=True)
class Stack:
    """A deployed stack."""

    name: str
    region: str
    account_id: str
    template: CloudFormationTemplate
    resources: Mapping[str, Resource]
    outputs: Mapping[str, str]
    arns: Mapping[str, str] = field(default_factory=dict)
    service_calls: list[tuple[str, Call]] = field(default_factory=list)
    """What AWS's services do by themselves with roles of the stack (logical ids): collected while it is connected."""

    def of_kind(self, kind: str) -> Iterator[Resource]:
        """Yield the resources of one type, in the template's order."""
        return (resource for resource in self.resources.values() if resource.kind == kind)

    def arn(self, logical_id: str) -> str:
        """Return the ARN of a resource that has one."""
        return self.arns[logical_id]

    def by_arn(self, arn: str) -> Resource | None:
        """Return the resource with that ARN, if it is of this stack."""
        logical_id = next((name for name, other in self.arns.items() if other == arn), None)
        return None if logical_id is None else self.resources[logical_id]

    def code_of(self, resource: Resource) -> CodeSource:
        """Return where the code of a function or layer lies."""
        content = resource["Code" if resource.kind == "AWS::Lambda::Function" else "Content"]
        return self.template.code_of(resource.logical_id, content)


_SCHEDULER_KINDS = {"AWS::Scheduler::Schedule": "schedule", "AWS::Scheduler::ScheduleGroup": "schedule-group"}
_ARN_ATTRIBUTE = {
    "AWS::DynamoDB::Table": "Arn",
    "AWS::ECS::Cluster": "Arn",
    "AWS::Events::Rule": "Arn",
    "AWS::IAM::Role": "Arn",
    "AWS::Lambda::Function": "Arn",
    "AWS::Logs::LogGroup": "Arn",
    "AWS::S3::Bucket": "Arn",
    "AWS::SQS::Queue": "Arn",
}


def deploy(  # noqa: PLR0913 - each is one thing that a stack needs
    template: Path,
    *,
    parameters: Mapping[str, str],
    stack_name: str,
    backend: MotoBackend,
    clients: Clients,
    api_url: str,
) -> Stack:
    """Deploy the SAM template; raises TemplateError, naming the resource, for what cannot be deployed whole."""
    transformed = transform_template(template, parameters=parameters, region=backend.region)
    return _Deployment(transformed, stack_name, backend, clients, api_url).run()


class _Deployment:
    def __init__(
        self, template: CloudFormationTemplate, stack_name: str, backend: MotoBackend, clients: Clients, api_url: str
    ) -> None:
        self._template = template
        self._stack_name = stack_name
        self._backend = backend
        self._clients = clients
        self._api_url = api_url
        self._region = backend.region
        self._scope = Scope(
            names={
                **template.parameters,
                "AWS::AccountId": ACCOUNT_ID,
                "AWS::Partition": PARTITION,
                "AWS::Region": self._region,
                "AWS::StackId": f"arn:{PARTITION}:cloudformation:{self._region}:{ACCOUNT_ID}:stack/{stack_name}/local",
                "AWS::StackName": stack_name,
                "AWS::URLSuffix": "amazonaws.com",
            },
            mappings=template.body.get("Mappings", {}),
            conditions=template.body.get("Conditions", {}),
            zones=tuple(f"{self._region}{letter}" for letter in "abc"),
        )
        self._declared: dict[str, Mapping[str, Any]] = {}

    def run(self) -> Stack:
        check_rules(self._template.body.get("Rules", {}), self._template.parameters)
        before = Evaluator(self._scope, self._lookup_before)
        self._declared = self._select(before)
        self._check_dependencies()
        drafts = {
            logical_id: {
                "Type": resource["Type"],
                "Properties": before.evaluate(resource.get("Properties", {}), logical_id),
                **({"DependsOn": kept} if (kept := self._dependencies(resource)) else {}),
            }
            for logical_id, resource in self._declared.items()
        }
        for logical_id, draft in drafts.items():
            if draft["Type"] == "AWS::DynamoDB::Table":
                _check_keys(Resource(logical_id, str(draft["Type"]), draft["Properties"], ""))
        self._create({name: draft for name, draft in drafts.items() if draft["Type"] in MOTO_TYPES})
        after = Evaluator(self._scope, self._lookup_after)
        resources = {
            logical_id: Resource(
                logical_id=logical_id,
                kind=str(draft["Type"]),
                properties=_whole(after, draft["Properties"], logical_id),
                physical_id=self._physical_id(logical_id),
            )
            for logical_id, draft in drafts.items()
        }
        stack = Stack(
            name=self._stack_name,
            region=self._region,
            account_id=ACCOUNT_ID,
            template=self._template,
            resources=resources,
            outputs=self._outputs(after),
            arns={
                name: str(self._backend.attribute(self._stack_name, name, _ARN_ATTRIBUTE[resource.kind]))
                for name, resource in resources.items()
                if resource.kind in _ARN_ATTRIBUTE
            }
            | {
                name: str(self._own(name, resource.kind, "Arn"))
                for name, resource in resources.items()
                if resource.kind in _SCHEDULER_KINDS
            },
        )
        for resource in resources.values():
            _complete(resource, self._clients)
        return stack

    def _select(self, evaluator: Evaluator) -> dict[str, Mapping[str, Any]]:
        selected: dict[str, Mapping[str, Any]] = {}
        for logical_id, resource in self._template.body["Resources"].items():
            check_supported(logical_id, resource)
            condition = resource.get("Condition")
            if condition is None or evaluator.condition(str(condition), logical_id):
                selected[logical_id] = resource
        return selected

    def _check_dependencies(self) -> None:
        for logical_id, resource in self._declared.items():
            depends = resource.get("DependsOn", [])
            for name in [depends] if isinstance(depends, str) else depends:
                if name not in self._template.body["Resources"]:
                    raise invalid(logical_id, f"DependsOn names {name!r}, which is no resource.")

    def _dependencies(self, resource: Mapping[str, Any]) -> list[str]:
        depends = resource.get("DependsOn", [])
        names = [depends] if isinstance(depends, str) else depends
        return [name for name in names if name in self._declared and self._declared[name]["Type"] in MOTO_TYPES]

    def _lookup_before(self, logical_id: str, attribute: str | None) -> Any:
        kind = str(self._declared[logical_id]["Type"])
        return UNRESOLVED if kind in MOTO_TYPES else self._own(logical_id, kind, attribute)

    def _lookup_after(self, logical_id: str, attribute: str | None) -> Any:
        kind = str(self._declared[logical_id]["Type"])
        if kind in OWN_TYPES:
            return self._own(logical_id, kind, attribute)
        if attribute is None:
            return self._backend.physical_id(self._stack_name, logical_id)
        value = self._backend.attribute(self._stack_name, logical_id, attribute)
        if value is None:
            raise KeyError(attribute)
        # AWS gives a log group's ARN with the streams' part ("Return values" of AWS::Logs::LogGroup); moto does not.
        return f"{value}:*" if (kind, attribute) == ("AWS::Logs::LogGroup", "Arn") else value

    def _own(self, logical_id: str, kind: str, attribute: str | None) -> Any:
        """Ref and GetAtt of a resource that moto does not know."""
        if attribute is None:
            return self._own_physical_id(logical_id, kind)
        if kind == "AWS::ApiGatewayV2::Api":
            return {"ApiEndpoint": self._api_url, "ApiId": self._own_physical_id(logical_id, kind)}[attribute]
        if kind == "AWS::Lambda::EventSourceMapping":
            return {"Id": self._own_physical_id(logical_id, kind)}[attribute]
        if kind in _SCHEDULER_KINDS:
            return {"Arn": self._scheduler_arn(logical_id, kind)}[attribute]
        raise KeyError(attribute)

    def _scheduler_arn(self, logical_id: str, kind: str) -> str:
        name = self._own_physical_id(logical_id, kind)
        if kind == "AWS::Scheduler::Schedule":
            name = f"{self._declared_text(logical_id, 'GroupName') or 'default'}/{name}"
        return f"arn:{PARTITION}:scheduler:{self._region}:{ACCOUNT_ID}:{_SCHEDULER_KINDS[kind]}/{name}"

    def _declared_text(self, logical_id: str, name: str) -> str | None:
        """Return a property that the name of a resource is made of: it cannot depend on what moto makes."""
        evaluator = Evaluator(self._scope, self._lookup_before)
        value = evaluator.evaluate(self._declared[logical_id].get("Properties", {}).get(name), logical_id)
        if not is_concrete(value):
            raise invalid(logical_id, f"the embedded AWS cannot have its {name} depend on a resource of moto's.")
        return None if value is None else str(value)

    def _own_physical_id(self, logical_id: str, kind: str) -> str:
        digest = hashlib.sha256(f"{self._stack_name}/{logical_id}".encode()).hexdigest()
        if kind == "AWS::ApiGatewayV2::Api":
            return f"local{digest[:5]}"
        if kind == "AWS::ApiGatewayV2::Stage":
            return str(self._declared[logical_id].get("Properties", {}).get("StageName"))
        if kind == "AWS::Lambda::EventSourceMapping":
            return str(uuid.UUID(digest[:32]))
        if kind in _SCHEDULER_KINDS and (name := self._declared_text(logical_id, "Name")):
            return name
        return f"{self._stack_name}-{logical_id}-{digest[:12]}"

    def _physical_id(self, logical_id: str) -> str:
        return str(self._lookup_after(logical_id, None))

    def _create(self, resources: Mapping[str, Any]) -> None:
        s3 = self._clients.get("s3")
        location = {} if self._region == "us-east-1" else {"LocationConstraint": self._region}
        s3.create_bucket(Bucket=CODE_BUCKET, **({"CreateBucketConfiguration": location} if location else {}))
        for key in self._template.code:
            s3.put_object(Bucket=CODE_BUCKET, Key=key, Body=_empty_archive())
        try:
            self._clients.get("cloudformation").create_stack(
                StackName=self._stack_name,
                TemplateBody=json.dumps({"Resources": resources}),
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            )
        except ClientError as error:
            raise TemplateError(f"CloudFormation refuses the template: {error.response['Error']['Message']}") from error
        except BotoCoreError as error:
            raise TemplateError("moto could not create the stack; its traceback is in the log.") from error
        for key in self._template.code:
            s3.delete_object(Bucket=CODE_BUCKET, Key=key)
        s3.delete_bucket(Bucket=CODE_BUCKET)

    def _outputs(self, evaluator: Evaluator) -> dict[str, str]:
        outputs: dict[str, str] = {}
        for name, output in self._template.body.get("Outputs", {}).items():
            where = f"Outputs.{name}"
            condition = output.get("Condition")
            if condition is not None and not evaluator.condition(str(condition), where):
                continue
            outputs[name] = str(_whole(evaluator, output.get("Value"), where))
        return outputs


def _whole(evaluator: Evaluator, value: Any, where: str) -> Any:
    result = evaluator.evaluate(value, where)
    if not is_concrete(result):
        raise TemplateError(f"{where}: {json.dumps(value, default=str)} cannot be resolved.")
    return result


def _empty_archive() -> bytes:
    """Return the code of a function as moto holds it; the embedded AWS runs the folder itself."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("empty", "")
    return buffer.getvalue()


def _complete(resource: Resource, clients: Clients) -> None:
    """Do what moto's CloudFormation leaves undone."""
    completion = _COMPLETIONS.get(resource.kind)
    if completion is None:
        return
    try:
        completion(resource, clients)
    except ClientError as error:
        raise invalid(resource.logical_id, f"{error.response['Error']['Message']}") from error


def _complete_table(table: Resource, clients: Clients) -> None:
    dynamodb = clients.get("dynamodb")
    expiry = table.get("TimeToLiveSpecification")
    if expiry is not None:
        dynamodb.update_time_to_live(
            TableName=table.physical_id,
            TimeToLiveSpecification={
                "AttributeName": expiry.get("AttributeName", ""),
                "Enabled": _flag(table, "TimeToLiveSpecification.Enabled", expiry.get("Enabled")),
            },
        )
    recovery = table.get("PointInTimeRecoverySpecification")
    if recovery is not None:
        dynamodb.update_continuous_backups(
            TableName=table.physical_id,
            PointInTimeRecoverySpecification={
                "PointInTimeRecoveryEnabled": _flag(
                    table, "PointInTimeRecoveryEnabled", recovery.get("PointInTimeRecoveryEnabled")
                )
            },
        )


def _check_keys(table: Resource) -> None:
    """DynamoDB's own rule, which moto does not check: attributes are defined exactly if a key uses them."""
    indexes = [*table.get("GlobalSecondaryIndexes", []), *table.get("LocalSecondaryIndexes", [])]
    defined = {definition["AttributeName"] for definition in table["AttributeDefinitions"]}
    used: set[str] = set()
    for name, schema in [("", table["KeySchema"]), *((index["IndexName"], index["KeySchema"]) for index in indexes)]:
        kinds = [key["KeyType"] for key in schema]
        what = f"the key schema of index {name}" if name else "the key schema"
        if not kinds or kinds[0] != "HASH" or set(kinds) - {"HASH", "RANGE"} or sorted(kinds) != kinds:
            raise invalid(table.logical_id, f"{what} must begin with HASH and go on with RANGE, not {kinds}.")
        used |= {key["AttributeName"] for key in schema}
    for attribute in sorted(used - defined):
        raise invalid(table.logical_id, f"the key attribute {attribute!r} has no AttributeDefinition.")
    for attribute in sorted(defined - used):
        raise invalid(table.logical_id, f"the attribute {attribute!r} is defined, but no key uses it.")


def _complete_bucket(bucket: Resource, clients: Clients) -> None:
    s3 = clients.get("s3")
    versioning = bucket.get("VersioningConfiguration")
    if versioning is not None:
        s3.put_bucket_versioning(Bucket=bucket.physical_id, VersioningConfiguration=versioning)
    access = bucket.get("PublicAccessBlockConfiguration")
    if access is not None:
        flags = {name: _flag(bucket, name, value) for name, value in access.items()}
        s3.put_public_access_block(Bucket=bucket.physical_id, PublicAccessBlockConfiguration=flags)
    notification = bucket.get("NotificationConfiguration", {})
    for name in notification:
        if name != "EventBridgeConfiguration":
            raise invalid(bucket.logical_id, f"the embedded AWS does not support the property {name}.")


def sends_events(bucket: Resource) -> bool:
    """Return whether a bucket's events go to EventBridge."""
    configuration = bucket.get("NotificationConfiguration", {}).get("EventBridgeConfiguration")
    if configuration is None:
        return False
    # CloudFormation's default is true: naming the configuration switches it on.
    return _flag(bucket, "EventBridgeEnabled", configuration.get("EventBridgeEnabled", True))


def _complete_queue(queue: Resource, clients: Clients) -> None:
    policy = queue.get("RedrivePolicy")
    if policy is None:
        return
    target = str(policy.get("deadLetterTargetArn"))
    url = str(clients.get("sqs").get_queue_url(QueueName=target.rpartition(":")[2])["QueueUrl"])
    if not url or not 1 <= int(policy.get("maxReceiveCount", 0)) <= 1000:  # noqa: PLR2004 - SQS's bounds
        raise invalid(queue.logical_id, "RedrivePolicy needs a maxReceiveCount from 1 to 1000.")


_COMPLETIONS: dict[str, Callable[[Resource, Clients], None]] = {
    "AWS::DynamoDB::Table": _complete_table,
    "AWS::S3::Bucket": _complete_bucket,
    "AWS::SQS::Queue": _complete_queue,
}


def _flag(resource: Resource, name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in {"true", "false"}:
        return str(value).lower() == "true"
    raise invalid(resource.logical_id, f"{name} must be true or false, not {value!r}.")
