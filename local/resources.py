"""Which resource types and properties the embedded AWS deploys; everything else is an error, not a surprise on AWS.

A property listed here is either acted upon, checked, or makes no difference on one machine (tags, encryption at rest,
retention of logs); a property that is not listed would be ignored in silence, so it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

MOTO_TYPES: Mapping[str, frozenset[str]] = {
    "AWS::DynamoDB::Table": frozenset(
        {
            "AttributeDefinitions",
            "BillingMode",
            "DeletionProtectionEnabled",
            "GlobalSecondaryIndexes",
            "KeySchema",
            "LocalSecondaryIndexes",
            "PointInTimeRecoverySpecification",
            "SSESpecification",
            "StreamSpecification",
            "TableName",
            "Tags",
            "TimeToLiveSpecification",
        }
    ),
    "AWS::EC2::InternetGateway": frozenset({"Tags"}),
    "AWS::EC2::Route": frozenset({"DestinationCidrBlock", "GatewayId", "RouteTableId"}),
    "AWS::EC2::RouteTable": frozenset({"VpcId", "Tags"}),
    "AWS::EC2::SecurityGroup": frozenset({"GroupDescription", "SecurityGroupEgress", "Tags", "VpcId"}),
    "AWS::EC2::Subnet": frozenset({"AvailabilityZone", "CidrBlock", "MapPublicIpOnLaunch", "Tags", "VpcId"}),
    "AWS::EC2::SubnetRouteTableAssociation": frozenset({"RouteTableId", "SubnetId"}),
    "AWS::EC2::VPC": frozenset({"CidrBlock", "EnableDnsHostnames", "EnableDnsSupport", "Tags"}),
    "AWS::EC2::VPCGatewayAttachment": frozenset({"InternetGatewayId", "VpcId"}),
    "AWS::ECS::Cluster": frozenset({"CapacityProviders", "ClusterName", "ClusterSettings", "Tags"}),
    "AWS::ECS::TaskDefinition": frozenset(
        {
            "ContainerDefinitions",
            "Cpu",
            "EphemeralStorage",
            "ExecutionRoleArn",
            "Family",
            "Memory",
            "NetworkMode",
            "RequiresCompatibilities",
            "RuntimePlatform",
            "Tags",
            "TaskRoleArn",
            "Volumes",
        }
    ),
    "AWS::Events::Rule": frozenset({"Description", "EventPattern", "Name", "ScheduleExpression", "State", "Targets"}),
    "AWS::IAM::Role": frozenset(
        {
            "AssumeRolePolicyDocument",
            "Description",
            "ManagedPolicyArns",
            "Path",
            "Policies",
            "RoleName",
            "Tags",
        }
    ),
    "AWS::Lambda::Function": frozenset(
        {
            "Architectures",
            "Code",
            "DeadLetterConfig",
            "Description",
            "Environment",
            "FunctionName",
            "Handler",
            "Layers",
            "LoggingConfig",
            "MemorySize",
            "ReservedConcurrentExecutions",
            "Role",
            "Runtime",
            "Tags",
            "Timeout",
        }
    ),
    "AWS::Lambda::LayerVersion": frozenset(
        {
            "CompatibleArchitectures",
            "CompatibleRuntimes",
            "Content",
            "Description",
            "LayerName",
            "LicenseInfo",
        }
    ),
    "AWS::Logs::LogGroup": frozenset({"LogGroupName", "RetentionInDays", "Tags"}),
    "AWS::S3::Bucket": frozenset(
        {
            "BucketEncryption",
            "BucketName",
            "LifecycleConfiguration",
            "NotificationConfiguration",
            "OwnershipControls",
            "PublicAccessBlockConfiguration",
            "Tags",
            "VersioningConfiguration",
        }
    ),
    "AWS::SQS::Queue": frozenset(
        {
            "DelaySeconds",
            "MaximumMessageSize",
            "MessageRetentionPeriod",
            "QueueName",
            "ReceiveMessageWaitTimeSeconds",
            "RedrivePolicy",
            "SqsManagedSseEnabled",
            "Tags",
            "VisibilityTimeout",
        }
    ),
}
"""What moto's CloudFormation creates."""

OWN_TYPES: Mapping[str, frozenset[str]] = {
    "AWS::ApiGatewayV2::Api": frozenset({"Body", "Description", "Tags"}),
    "AWS::ApiGatewayV2::Stage": frozenset(
        {
            "AccessLogSettings",
            "ApiId",
            "AutoDeploy",
            "DefaultRouteSettings",
            "RouteSettings",
            "StageName",
            "Tags",
        }
    ),
    # Never evaluated: there are no metrics here.
    "AWS::CloudWatch::Alarm": frozenset(
        {
            "AlarmActions",
            "AlarmDescription",
            "ComparisonOperator",
            "DatapointsToAlarm",
            "Dimensions",
            "EvaluationPeriods",
            "InsufficientDataActions",
            "MetricName",
            "Namespace",
            "OKActions",
            "Period",
            "Statistic",
            "Threshold",
            "TreatMissingData",
        }
    ),
    "AWS::Lambda::EventInvokeConfig": frozenset(
        {
            "DestinationConfig",
            "FunctionName",
            "MaximumEventAgeInSeconds",
            "MaximumRetryAttempts",
            "Qualifier",
        }
    ),
    "AWS::Lambda::EventSourceMapping": frozenset(
        {
            "BatchSize",
            "BisectBatchOnFunctionError",
            "DestinationConfig",
            "Enabled",
            "EventSourceArn",
            "FilterCriteria",
            "FunctionName",
            "FunctionResponseTypes",
            "MaximumBatchingWindowInSeconds",
            "MaximumRetryAttempts",
            "ScalingConfig",
            "StartingPosition",
            "Tags",
        }
    ),
    "AWS::Lambda::Permission": frozenset({"Action", "FunctionName", "Principal", "SourceAccount", "SourceArn"}),
    "AWS::SQS::QueuePolicy": frozenset({"PolicyDocument", "Queues"}),
    "AWS::Scheduler::Schedule": frozenset(
        {
            "Description",
            "EndDate",
            "FlexibleTimeWindow",
            "GroupName",
            "Name",
            "ScheduleExpression",
            "ScheduleExpressionTimezone",
            "StartDate",
            "State",
            "Target",
        }
    ),
    "AWS::Scheduler::ScheduleGroup": frozenset({"Name", "Tags"}),
}
"""What the embedded AWS holds itself, because moto skips it or would act on it."""

_ATTRIBUTES = frozenset(
    {
        "Type",
        "Properties",
        "Condition",
        "DependsOn",
        "DeletionPolicy",
        "UpdateReplacePolicy",
        "Metadata",
    }
)


def check_supported(logical_id: str, resource: Mapping[str, Any]) -> None:
    """Raise TemplateError if the embedded AWS would have to ignore the resource or a part of it."""
    kind = resource.get("Type")
    known = MOTO_TYPES.get(str(kind), OWN_TYPES.get(str(kind)))
    if known is None:
        raise invalid(logical_id, f"the embedded AWS has no resources of type {kind}.")
    for attribute in resource:
        if attribute not in _ATTRIBUTES:
            raise invalid(logical_id, f"{attribute!r} is no attribute of a resource.")
    check_keys(logical_id, "", resource.get("Properties", {}), known)


def check_keys(logical_id: str, where: str, value: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raise TemplateError for the first key of `value` that is not known."""
    for key in value:
        if key not in known:
            path = f"{where}.{key}" if where else key
            raise invalid(logical_id, f"the embedded AWS does not support the property {path}.")
