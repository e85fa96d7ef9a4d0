"""Triggers as their tests need them: events as AWS sends them, and all that handles them, on any DynamoDB."""

import json
import threading
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

from tests import factories
from tests.factories import MOMENT, TASK, TRAINING, Runs, snapshot
from tests.integration.zentrigger.bench import TABLE, Clock
from zentrigger.arrivals import Arrivals
from zentrigger.capacity import Limits
from zentrigger.catalogue import Snapshot
from zentrigger.errors import NotFoundError
from zentrigger.events import parse_event
from zentrigger.items import from_item, to_item, transact
from zentrigger.launches import Network, Started
from zentrigger.receipts import Receipt
from zentrigger.runs import Report, Run, RunStatus, Verdict
from zentrigger.submit import Submitter
from zentrigger.timestamps import to_text
from zentrigger.trigger_store import TriggerStore
from zentrigger.triggers import Trigger

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient

TRIGGERS = "TriggersTable"


class Ticking(Clock):
    """A clock on which no two moments are the same; also for many threads."""

    def __init__(self, moment: "datetime" = MOMENT) -> None:
        super().__init__(moment)
        self._lock = threading.Lock()

    def __call__(self) -> "datetime":
        with self._lock:
            self.moment += timedelta(milliseconds=1)
            return self.moment


def s3_event(key: str = "in/a.csv", *, event_id: str = "e", bucket: str = "data", **values: Any) -> dict[str, Any]:
    """Make the event of an object's arrival, as EventBridge delivers it."""
    s3_object = {"key": key, "size": 7, "etag": "e1", "sequencer": "01"} | values
    return {
        "id": event_id,
        "time": to_text(MOMENT),
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": bucket}, "object": s3_object, "reason": "PutObject"},
    }


def run_event(run_id: str, **detail: Any) -> dict[str, Any]:
    """Make the event of a run's end; what else `detail` says of the run, nobody should believe."""
    return {
        "id": f"end of {run_id}",
        "time": to_text(MOMENT),
        "source": "zentrigger",
        "detail-type": "Pipeline Run Succeeded",
        "detail": {"run_id": run_id} | detail,
    }


def webhook_event(trigger: str, body: Any = None, **detail: Any) -> dict[str, Any]:
    """Make what a webhook's call puts into the queue."""
    told = {"trigger": trigger, "receipt_id": "20261120T120000000000Z-0", "delivery_id": "d1", "headers": {}}
    return {
        "id": "d1",
        "time": to_text(MOMENT),
        "source": "zentrigger.webhook",
        "detail-type": "Webhook",
        "detail": told | {"body": body} | detail,
    }


class Bench:
    """A stack of which one table after the other can be replaced by one that fails."""

    def __init__(self, client: "DynamoDBClient", clock: Clock | None = None, *, max_active: int = 5) -> None:
        self.client = client
        self.clock = clock or Ticking()
        self.runs = Runs(TABLE, client, self.clock)
        self.triggers = TriggerStore(TRIGGERS, client)
        self.launcher = Mock()
        self.launcher.run_task.return_value = Started(TASK)
        self.published = {TRAINING.pipeline: snapshot()}
        self._max_active = max_active

    def put(self, name: str = "arrivals", **values: Any) -> Trigger:
        """Put a trigger, whatever stands."""
        trigger = factories.trigger(name, **values)
        transact(self.client, [self.triggers.put_action(trigger, self.triggers.find(name))])
        return trigger

    def arrivals(self, client: "DynamoDBClient | None" = None) -> Arrivals:
        """Give what handles events, with the triggers of this moment; `client` is what it is to write with."""
        runs = Runs(TABLE, client, self.clock) if client is not None else self.runs
        triggers = TriggerStore(TRIGGERS, client) if client is not None else self.triggers
        return Arrivals(triggers=triggers, submitter=self.submitter(runs), record_of=runs.get, clock=self.clock)

    def submitter(self, runs: Runs | None = None) -> Submitter:
        """Give what records runs."""
        catalogue, task_definitions = Mock(), Mock()
        catalogue.choose.side_effect = catalogue.find.side_effect = self._choose
        task_definitions.family = "snapshots"
        task_definitions.revision.return_value = task_definitions.known_revision.return_value = "arn:revision"
        return Submitter(
            runs=runs or self.runs,
            catalogue=catalogue,
            task_definitions=task_definitions,
            launcher=self.launcher,
            cluster="c",
            network=Network(("subnet-1",), ("sg-1",), "ENABLED"),
            limits=Limits(max_active=self._max_active, max_waiting=1, retention_days=1),
            clock=self.clock,
        )

    def _choose(self, pipeline: str, choice: object) -> Snapshot:
        if pipeline not in self.published or choice not in (None, 1):
            raise NotFoundError(f"no snapshot of {pipeline}")
        return self.published[pipeline]

    def handle(self, event: dict[str, Any], client: "DynamoDBClient | None" = None) -> list[Receipt]:
        """Handle an event as it comes from the queue, in a batch of its own."""
        raw = json.loads(json.dumps(event))
        arrivals = self.arrivals(client)
        receipts = arrivals.handle(parse_event(raw), raw)
        arrivals.keep_refused()
        return receipts

    def counts_of(self, name: str = "arrivals") -> dict[str, int]:
        """Give how many events of a trigger had each outcome."""
        return self.triggers.counts_of(self.triggers.get(name))

    def outcomes(self, event: dict[str, Any]) -> list[str]:
        """Handle an event, and give its outcome at each trigger."""
        return [receipt.outcome for receipt in self.handle(event)]

    def receipts(self, trigger: str = "arrivals", **values: Any) -> tuple[Receipt, ...]:
        """Give the receipts of a trigger that are kept, newest first."""
        return self.triggers.receipts(trigger, limit=1000, **values)[0]

    def heads(self) -> list[Run]:
        """Give the heads of all runs, however they stand."""
        pages = self.client.get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True)
        found = [from_item(item) for page in pages for item in page["Items"]]
        return [Run.model_validate(item) for item in found if item["part"] == "head"]

    def end(self, run: Run, status: RunStatus = RunStatus.SUCCEEDED, report: Report | None = None) -> Run:
        """End a run, after it ran, with what it reports."""
        self.runs.claim(run.run_id, run.attempt, TASK)
        self.runs.report(run.run_id, run.attempt, TASK, report or Report(outcome="succeeded"))
        standing = self.runs.head(run.run_id)
        assert standing is not None
        assert isinstance(standing.report, Verdict)
        ended = self.runs.end(standing, status, None, None)
        assert ended is not None
        return ended


def spoil(client: "DynamoDBClient", name: str) -> None:
    """Have a trigger say something that only a later version understands."""
    key = to_item({"collection": "triggers", "item": name})
    item = from_item(client.get_item(TableName=TRIGGERS, Key=key)["Item"])
    body = json.loads(item["body"])
    body["definition"]["colour"] = "red"
    client.put_item(TableName=TRIGGERS, Item=to_item({**item, "body": json.dumps(body)}))


def contents(client: "DynamoDBClient") -> dict[str, list[str]]:
    """Give all that stands in all tables."""
    return {
        table: sorted(json.dumps(item, sort_keys=True) for item in client.scan(TableName=table)["Items"])
        for table in client.list_tables()["TableNames"]
    }


def numbers(receipts: tuple[Receipt, ...]) -> dict[str, int]:
    """Give how many receipts there are of each outcome."""
    return dict(Counter(receipt.outcome for receipt in receipts))
