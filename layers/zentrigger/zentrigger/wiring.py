"""Puts the pieces together for each function, once a process: settings, clients, stores."""

import os
from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from zentrigger.arrivals import Arrivals
from zentrigger.capacity import Limits
from zentrigger.capacity_store import CapacityStore
from zentrigger.catalogue_store import CatalogueStore
from zentrigger.discovery import Discovery
from zentrigger.event_publisher import EventPublisher
from zentrigger.hook_secrets import HookSecretStore
from zentrigger.hooks import Hooks
from zentrigger.http import parse_json
from zentrigger.key_store import KeyStore
from zentrigger.launcher import EcsLauncher
from zentrigger.launches import Network
from zentrigger.log_reader import LogReader
from zentrigger.publishing import Publisher
from zentrigger.reconciler import Reconciler
from zentrigger.run_listing import RunListing
from zentrigger.run_store import RunStore
from zentrigger.schedule_sync import ScheduleSync
from zentrigger.scheduler import Scheduler
from zentrigger.settings import (
    AdminSettings,
    LaunchSettings,
    LifecycleSettings,
    OnEventSettings,
    StatusSettings,
    SubmitSettings,
    TaskDefinitionSettings,
    TriggerSettings,
)
from zentrigger.submit import Submitter
from zentrigger.sweep import Sweep
from zentrigger.task_definitions import TaskDefinitions
from zentrigger.trial import TriggerTrials
from zentrigger.trigger_store import TriggerStore
from zentrigger.trigger_writer import TriggerWriter

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ecs import ECSClient

# A function that answers HTTP lives 20 s: three tries of one call must end well before that.
_PATIENT = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 3})
# Describing and registering a task definition come before recording and launching, all within those 20 s.
_HASTY = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
# RunTask's own retries would hide a first send of unknown fate behind a second one.
_ONCE = Config(connect_timeout=2, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 1})


@cache
def dynamodb() -> "DynamoDBClient":
    """Give the one DynamoDB client of this process."""
    return boto3.client("dynamodb", config=_PATIENT)


@cache
def _ecs(config: Config) -> "ECSClient":
    return boto3.client("ecs", config=config)


@cache
def trigger_settings() -> TriggerSettings:
    """Give the settings of the function `trigger`."""
    return TriggerSettings.read(os.environ)


@cache
def on_event_settings() -> OnEventSettings:
    """Give the settings of the function `on_event`."""
    return OnEventSettings.read(os.environ)


@cache
def status_settings() -> StatusSettings:
    """Give the settings of the function `status`."""
    return StatusSettings.read(os.environ)


@cache
def admin_settings() -> AdminSettings:
    """Give the settings of the function `admin`."""
    return AdminSettings.read(os.environ)


@cache
def lifecycle_settings() -> LifecycleSettings:
    """Give the settings of the function `lifecycle`."""
    return LifecycleSettings.read(os.environ)


@cache
def run_store(table: str) -> RunStore:
    """Give the runs."""
    return RunStore(table, dynamodb())


@cache
def capacity_store(table: str) -> CapacityStore:
    """Give the counts of active and waiting runs."""
    return CapacityStore(table, dynamodb())


@cache
def run_listing(table: str) -> RunListing:
    """Give lists of runs."""
    return RunListing(table, dynamodb())


@cache
def catalogue_store(table: str) -> CatalogueStore:
    """Give the catalogue."""
    return CatalogueStore(table, dynamodb())


@cache
def trigger_store(table: str) -> TriggerStore:
    """Give the triggers."""
    return TriggerStore(table, dynamodb())


@cache
def hook_secrets(table: str) -> HookSecretStore:
    """Give the secrets of webhook triggers."""
    return HookSecretStore(table, dynamodb())


@cache
def hooks() -> Hooks:
    """Give what takes webhooks."""
    settings = trigger_settings()
    return Hooks(
        triggers=trigger_store(settings.triggers_table),
        secrets=hook_secrets(settings.keys_table),
        queue=boto3.client("sqs", config=_PATIENT),
        queue_url=settings.event_queue_url,
        parse=parse_json,
    )


@cache
def trigger_writer() -> TriggerWriter:
    """Give what writes triggers."""
    settings = admin_settings()
    return TriggerWriter(
        client=dynamodb(),
        triggers=trigger_store(settings.triggers_table),
        catalogue=catalogue_store(settings.catalogue_table),
        secrets=hook_secrets(settings.keys_table),
        artifact_bucket=settings.artifact_bucket,
    )


@cache
def schedule_sync() -> ScheduleSync:
    """Give what sets the schedules of triggers."""
    settings = admin_settings()
    scheduler = Scheduler(
        # A schedule takes a call to look and one to set, and the last of a request is begun within its first seconds.
        boto3.client("scheduler", config=_HASTY),
        group=settings.schedule_group,
        queue_arn=settings.event_queue_arn,
        role_arn=settings.schedule_role_arn,
        dead_letter_queue_arn=settings.dead_letter_queue_arn,
    )
    return ScheduleSync(trigger_store(settings.triggers_table), scheduler)


def trigger_trials() -> TriggerTrials:
    """Give what tries triggers."""
    settings = trigger_settings()
    return TriggerTrials(
        triggers=trigger_store(settings.triggers_table),
        submitter=submitter(settings, settings.max_waiting_runs),
        record_of=run_store(settings.runs_table).get,
    )


def arrivals() -> Arrivals:
    """Give what handles events, with the triggers as they are now."""
    settings = on_event_settings()
    return Arrivals(
        triggers=trigger_store(settings.triggers_table),
        submitter=submitter(settings),
        record_of=run_store(settings.runs_table).get,
    )


@cache
def key_store(table: str) -> KeyStore:
    """Give the API keys."""
    return KeyStore(table, dynamodb())


@cache
def log_reader(group: str) -> LogReader:
    """Give the logs of the tasks."""
    return LogReader(group, boto3.client("logs", config=_PATIENT))


@cache
def launcher(cluster: str) -> EcsLauncher:
    """Give the tasks of the cluster."""
    return EcsLauncher(cluster, _ecs(_PATIENT), _ecs(_ONCE))


@cache
def task_definitions(settings: TaskDefinitionSettings) -> TaskDefinitions:
    """Give the task definitions of snapshots; the same object for the same settings, for it remembers what it found."""
    return TaskDefinitions(
        base=settings.task_definition,
        family=settings.snapshot_family,
        table=settings.catalogue_table,
        ecs=_ecs(_HASTY),
        dynamodb=dynamodb(),
    )


@cache
def publisher() -> Publisher:
    """Give what writes to the catalogue."""
    settings = admin_settings()
    return Publisher(
        catalogue=catalogue_store(settings.catalogue_table),
        triggers=trigger_store(settings.triggers_table),
        task_definitions=task_definitions(settings),
        secret_arns=settings.pipeline_secret_arns,
    )


@cache
def discovery() -> Discovery:
    """Give what finds pipelines and snapshots."""
    settings = status_settings()
    return Discovery(
        catalogue_store(settings.catalogue_table),
        run_listing(settings.runs_table),
        capacity_store(settings.runs_table),
    )


def network(settings: LaunchSettings) -> Network:
    """Give where tasks run."""
    return Network(settings.subnets, settings.security_groups, settings.assign_public_ip)


def submitter(settings: SubmitSettings, max_waiting: int = 0) -> Submitter:
    """Give what records runs and starts them."""
    return Submitter(
        runs=run_store(settings.runs_table),
        catalogue=catalogue_store(settings.catalogue_table),
        launcher=launcher(settings.cluster),
        cluster=settings.cluster,
        network=network(settings),
        task_definitions=task_definitions(settings),
        limits=Limits(
            max_active=settings.max_active_runs,
            max_waiting=max_waiting,
            retention_days=settings.run_retention_days,
        ),
    )


@cache
def reconciler() -> Reconciler:
    """Give what ends runs and starts waiting ones."""
    settings = lifecycle_settings()
    return Reconciler(
        runs=run_store(settings.runs_table),
        tasks=launcher(settings.cluster),
        publisher=EventPublisher(boto3.client("events", config=_PATIENT)),
        cluster=settings.cluster,
        network=network(settings),
        max_active=settings.max_active_runs,
    )


@cache
def sweep() -> Sweep:
    """Give the minute's sweep."""
    settings = lifecycle_settings()
    return Sweep(
        runs=run_store(settings.runs_table),
        capacity=capacity_store(settings.runs_table),
        tasks=launcher(settings.cluster),
        reconciler=reconciler(),
    )
