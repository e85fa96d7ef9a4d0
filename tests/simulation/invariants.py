"""What must be true of the product at every moment, and when all has come to rest: seen from outside of it.

The watch sees each write to the table with the world as it is at that moment: which tasks there are, what they really
do, what was done to them. It has rules of its own, not the product's functions, and keeps what it finds: raised in the
middle of a call it could be taken for an error of AWS.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.simulation.table import Write
from zentrigger.errors import BusyError, IdempotencyClashError, ZentriggerError
from zentrigger.event_publisher import PublishError
from zentrigger.items import from_item
from zentrigger.sweep_report import SweepReport

if TYPE_CHECKING:
    from tests.simulation.tasks import SimulatedTask
    from tests.simulation.world import World

Head = dict[str, Any]

FINAL = frozenset({"succeeded", "failed", "cancelled"})
HOLDING = frozenset({"starting", "running"})
MOVES = {
    "queued": {"starting", "failed", "cancelled"},
    "starting": {"queued", "running", "failed", "cancelled"},
    "running": {"queued", "succeeded", "failed", "cancelled"},
}
AFTER_THE_END = frozenset({"announced_at", "active", "retried_by"})
"""What of a head may change when its run has ended."""

ATTEMPTS_FOR_INFRASTRUCTURE = 3
LAUNCH_SETTLES = timedelta(minutes=2)
TOKEN_LASTS = timedelta(minutes=50)
SILENT_FOR = timedelta(minutes=10)

INFRASTRUCTURE = frozenset(
    {"capacity", "heartbeat_lost", "infrastructure", "spot_interrupted", "start_timeout", "stopped",
     "subnet_without_egress", "task_lost"}
)  # fmt: skip
"""Reasons that are never the pipeline's doing."""
OF_THE_PIPELINE = frozenset({"killed", "pipeline_failed", "result_missing"})
TOLD_BY_ECS = {
    "Capacity is unavailable": "capacity",
    "CannotPullContainerError": "image_pull_failed",
    "i/o timeout": "subnet_without_egress",
    "unable to retrieve secret": "secrets_unreadable",
    "Host of the task is gone": "infrastructure",
    "Spot Task was interrupted": "spot_interrupted",
    "OutOfMemoryError": "out_of_memory",
}
"""What ECS says of a task's end -> the reason that this is."""


@dataclass
class EcsTask:
    """What ECS told of a task, whether or not anybody heard it."""

    started_by: str
    stopped_at: datetime | None = None
    said: str = ""

    @property
    def stopped(self) -> bool:
        """Whether it has ended."""
        return self.stopped_at is not None

    @property
    def launch(self) -> tuple[str, int, int]:
        """The run, attempt and launch that it was started for."""
        run_id, attempt, launch = self.started_by.split("/")
        return run_id, int(attempt), int(launch)


class Watch:
    """Sees everything that happens and keeps what was wrong."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._found: list[str] = []
        self._accepted: set[str] = set()
        self._heads: dict[str, Head] = {}
        self._live: defaultdict[str, list[tuple[datetime, int]]] = defaultdict(list)
        self._counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.claims: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        """Run id -> the attempt and task of each claim."""
        self.published_ends: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        self._sweeps: list[datetime] = []
        self.tasks: dict[str, EcsTask] = {}
        """Every task that ECS ever created, by ARN."""

    # ------------------------------------------------------------ what happens

    def accepted(self, run_id: str) -> None:
        """Note that a caller was told that its run is recorded."""
        self._accepted.add(run_id)

    def refused(self, run_id: str, error: ZentriggerError) -> None:
        """Note that a caller was told that there is no run for it."""
        if run_id in self._heads and not isinstance(error, BusyError | IdempotencyClashError):
            self._wrong(run_id, f"it is recorded, and its caller was told: {error!r}")

    def raised(self, process: str, error: Exception) -> None:
        """Note what a function raised."""
        if not isinstance(error, ZentriggerError | ClientError | BotoCoreError | PublishError):
            self._wrong("", f"{process} raised {error!r}")

    def swept(self, report: SweepReport) -> None:
        """Note what a sweep saw."""
        self._sweeps.append(self._world.now)
        if report.drifts:
            self._wrong("", f"a sweep found counts to be wrong: {report}")
        if report.failed and not self._world.faults.counts:
            self._wrong("", f"something of a sweep failed, though nothing else did: {report}")

    def published(self, kind: str, detail: str) -> None:
        """Note what was put on the event bus."""
        run_id = detail.partition('"run_id": "')[2].partition('"')[0]
        self.published_ends[run_id].append((kind, detail))
        head = self._world.item(run_id)
        if head is None or head["status"] not in FINAL or not kind.endswith(head["status"].capitalize()):
            self._wrong(run_id, f"{kind!r} was published, and the run is {head and head['status']}")

    def task_changed(self, detail: dict[str, Any]) -> None:
        """Note what ECS says of a task."""
        arn = detail["taskArn"]
        if arn not in self.tasks:
            self.tasks[arn] = created = EcsTask(detail["startedBy"])
            run_id, attempt, _ = created.launch
            same = [task for task in self.tasks.values() if task.launch[:2] == (run_id, attempt)]
            if len(same) > 1:
                self._wrong(run_id, f"attempt {attempt} got a second task")
        if detail["lastStatus"] == "STOPPED":
            self.tasks[arn].stopped_at = self._world.now
            containers = " ".join(container.get("reason", "") for container in detail["containers"])
            self.tasks[arn].said = f"{detail.get('stoppedReason', '')} {containers}"

    def wrote(self, writes: Sequence[Write]) -> None:
        """See a write, or all writes of a transaction, just done."""
        try:
            self._see(writes)
        except Exception as error:
            # The product would take it for an error of DynamoDB.
            self._wrong("", f"the watch itself failed: {error!r}")
            raise

    def _see(self, writes: Sequence[Write]) -> None:
        groups: set[str] = set()
        for write in writes:
            run_id, part = write.key
            if part == "head":
                before = self._heads.get(run_id)
                after = from_item(write.after) if write.after is not None else None
                if after is not None:
                    self._heads[run_id] = after
                self._head_written(run_id, before, after)
                groups |= self._counted(before, -1) | self._counted(after, 1)
            elif part == "capacity":
                groups.add(run_id.removeprefix("capacity#"))
        for group in sorted(groups):
            self._compare_counts(group)
        for write in writes:
            if write.key[1] == "capacity":
                self._check_limit(write, writes)

    # ------------------------------------------------------------ counts

    def _counted(self, head: Head | None, by: int) -> set[str]:
        if head is None or head["status"] in FINAL:
            return set()
        groups = _groups(head)
        for group in groups:
            self._counts[group][0 if head["status"] in HOLDING else 1] += by
            self._live[group].append((self._world.now, sum(self._counts[group])))
        return groups

    def _compare_counts(self, group: str) -> None:
        item = self._world.table.items.get((f"capacity#{group}", "capacity"), {})
        active, waiting, live = (
            int(item.get(name, {"N": "0"})["N"]) for name in ("active_runs", "waiting_runs", "live_runs")
        )
        true_active, true_waiting = self._counts[group]
        if (active, waiting, live) != (true_active, true_waiting, true_active + true_waiting):
            self._wrong(
                "",
                f"the counts of {group} are {active} active, {waiting} waiting, {live} live; in truth there are"
                f" {true_active} and {true_waiting}",
            )

    def _check_limit(self, write: Write, writes: Sequence[Write]) -> None:
        """Check that a group whose active runs became more has not more than it may."""
        group = write.key[0].removeprefix("capacity#")
        before, after = write.before or {}, write.after or {}
        active = int(after.get("active_runs", {"N": "0"})["N"])
        if active <= int(before.get("active_runs", {"N": "0"})["N"]):
            return
        if group == "all":
            limit: int | None = self._world.max_active
        elif group.startswith("pipeline#"):
            limit = int(after["max_active_runs"]["N"]) if "max_active_runs" in after else None
        else:
            heads = [from_item(other.after) for other in writes if other.key[1] == "head" and other.after]
            limit = min(int(head["concurrency"]["limit"]) for head in heads)
        if limit is not None and active > limit:
            self._wrong("", f"{active} runs of {group} are active, and {limit} may be")

    # ------------------------------------------------------------ heads

    def _head_written(self, run_id: str, before: Head | None, after: Head | None) -> None:
        if after is None:
            self._wrong(run_id, "the head is gone")
            return
        if before is not None and self._expired(before) and before["accepted_at"] != after["accepted_at"]:
            self._forget(run_id)
            before = None
        if before is None:
            self._check_new(run_id, after)
            return
        if before["status"] in FINAL:
            self._check_ended(run_id, before, after)
            return
        self._check_move(run_id, before, after)
        self._check_numbers(run_id, before, after)
        if after.get("claimed_by") not in (None, before.get("claimed_by")):
            self._check_claim(run_id, before, after)
        if "report" in after and "report" not in before:
            self._check_report(run_id, after)
        if "overdue" in after and "overdue" not in before:
            self._check_overdue(run_id, before, after)
        if after["status"] in FINAL:
            self._check_end(run_id, before, after)

    def _expired(self, head: Head) -> bool:
        return "expires_at" in head and head["expires_at"] < self._world.now.timestamp()

    def _forget(self, run_id: str) -> None:
        """Forget what was there before an id is used again, a month later."""
        self.claims.pop(run_id, None)
        self.published_ends.pop(run_id, None)
        self.tasks = {arn: task for arn, task in self.tasks.items() if task.launch[0] != run_id}

    def _check_new(self, run_id: str, head: Head) -> None:
        if (head["attempt"], head["launch"]) != (1, 1):
            self._wrong(run_id, f"it begins at attempt {head['attempt']}, launch {head['launch']}")
        waiting = self._counts["all"][1]
        if head["status"] == "queued" and head["source"]["type"] == "http" and waiting >= self._world.max_waiting:
            self._wrong(run_id, f"it was queued though {waiting} runs waited, as many as may")
        if head["status"] in ("queued", "starting"):
            return
        concurrency = head.get("concurrency") or {}
        # The key may have become free since the request was refused.
        taken = self._most_live_since(f"key#{concurrency.get('key')}", _moment(head["accepted_at"]))
        if (
            (head["status"], head.get("reason")) != ("cancelled", "skipped_overlap")
            or concurrency.get("on_conflict") != "skip"
            or taken < concurrency["limit"]
        ):
            self._wrong(run_id, f"it begins as {head['status']} ({head.get('reason')}), {taken} of its key being live")

    def _most_live_since(self, group: str, moment: datetime) -> int:
        history = self._live[group]
        since = [live for at, live in history if at >= moment]
        before = [live for at, live in history if at < moment]
        return max([*since, *before[-1:]], default=0)

    def _check_ended(self, run_id: str, before: Head, after: Head) -> None:
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        if not changed <= AFTER_THE_END:
            self._wrong(run_id, f"after its end these changed: {', '.join(sorted(changed - AFTER_THE_END))}")
        if "announced_at" in changed and not self.published_ends[run_id]:
            self._wrong(run_id, "its end counts as announced and never was")

    def _check_move(self, run_id: str, before: Head, after: Head) -> None:
        if after["status"] != before["status"] and after["status"] not in MOVES[before["status"]]:
            self._wrong(run_id, f"it went from {before['status']} to {after['status']}")
        if "cancel_requested_at" in before and "cancel_requested_at" not in after:
            self._wrong(run_id, "the request to cancel it is gone")

    def _check_numbers(self, run_id: str, before: Head, after: Head) -> None:
        """Check that attempt and launch rise one by one, and only when nothing can come of the one before."""
        attempts, launches = after["attempt"] - before["attempt"], after["launch"] - before["launch"]
        if attempts == 1:
            self._check_next_attempt(run_id, before, after)
        elif attempts:
            self._wrong(run_id, f"the attempt went from {before['attempt']} to {after['attempt']}")
        elif launches == 1:
            launched = (run_id, before["attempt"], before["launch"])
            if any(task.launch == launched for task in self.tasks.values()):
                self._wrong(run_id, f"launch {before['launch']} had started a task, and another launch was made")
        elif launches:
            self._wrong(run_id, f"the launch went from {before['launch']} to {after['launch']}")
        elif before["status"] in HOLDING and after["status"] == "queued":
            self._wrong(run_id, f"it waits again to be launched as it was: attempt {after['attempt']}")

    def _check_next_attempt(self, run_id: str, before: Head, after: Head) -> None:
        if after["launch"] != 1 or after["status"] != "queued":
            self._wrong(run_id, f"attempt {after['attempt']} begins as {after['status']}, launch {after['launch']}")
        at_work = self._tasks_at_work(run_id)
        if at_work:
            self._wrong(run_id, f"attempt {after['attempt']} was begun while {at_work[0]} was alive")
        reason, true = str(after.get("reason")), self._true_reasons(before)
        if reason not in true:
            self._wrong(run_id, f"attempt {before['attempt']} failed with {reason}; true were {sorted(true)}")
        if not self._repeats(before, reason):
            self._wrong(run_id, f"no budget paid for attempt {after['attempt']} after {reason}")

    def _tasks_at_work(self, run_id: str) -> list[str]:
        """Give the tasks of a run that do, or may begin, something: not those that have done their work and told it."""
        through = {task.arn for task in self._world.runtime.tasks if task.dead or task.finished is not None}
        return [
            arn
            for arn, task in self.tasks.items()
            if task.launch[0] == run_id and not task.stopped and arn not in through
        ]

    def _check_claim(self, run_id: str, before: Head, after: Head) -> None:
        arn, attempt = after["claimed_by"], after["attempt"]
        if before["status"] != "starting" or before.get("claimed_by") or after["status"] != "running":
            self._wrong(run_id, f"{arn} claimed it while it was {before['status']}, of {before.get('claimed_by')}")
        if {"cancel_requested_at", "overdue"} & before.keys():
            self._wrong(run_id, "it was claimed though it was to end")
        task = self._task(arn)
        # A task that died with its claim under way may have it: nobody could know.
        dead = task is not None and task.dead and self._world.calls.landing is None
        if task is None or dead or (task.run_id, task.attempt) != (run_id, attempt):
            self._wrong(run_id, f"{arn} claimed it and is not alive, or not of attempt {attempt}")
        others = [other for other in self._world.runtime.tasks if other.run_id == run_id and other.arn != arn]
        claimed = {claimer for _, claimer in self.claims[run_id]}
        if any(other.arn in claimed and not other.dead and other.finished is None for other in others):
            self._wrong(run_id, f"{arn} claimed it while another task executed it")
        self.claims[run_id].append((attempt, arn))

    def _check_report(self, run_id: str, after: Head) -> None:
        task, report = self._task(after.get("claimed_by")), after["report"]
        done = task.finished if task is not None else None
        if done is None or (report["outcome"], report.get("reason")) != (done.outcome, done.reason):
            self._wrong(run_id, f"the report says {report}; in truth it is {done}")

    def _check_overdue(self, run_id: str, before: Head, after: Head) -> None:
        now, why = self._world.now, after["overdue"]["reason"]
        if why == "start_timeout":
            since = _moment(before.get("launched_at") or before["status_at"])
            true = before["status"] == "starting" and now - since >= timedelta(seconds=before["start_timeout_seconds"])
        elif why == "timed_out":
            limit = timedelta(seconds=before.get("timeout_seconds") or 0)
            true = bool(limit) and now - _moment(before["started_at"]) >= limit
        else:
            task = self._task(before.get("claimed_by"))
            true = why == "heartbeat_lost" and now - _moment(before["started_at"]) >= SILENT_FOR
            true = true and (task is None or not task.executing or task.work.deed == "freezes")
        if not true:
            self._wrong(run_id, f"it counts as overdue ({why}) and is not: {before}")

    # ------------------------------------------------------------ ends

    def _check_end(self, run_id: str, before: Head, after: Head) -> None:
        status, reason = after["status"], after.get("reason")
        at_work = self._tasks_at_work(run_id)
        cancelled = "cancel_requested_at" in before
        # A task that nobody knew of when its run was cancelled can do nothing any more: the sweep stops or outlives it.
        if at_work and not (cancelled and "claimed_by" not in before):
            self._wrong(run_id, f"it ended as {status} while {at_work[0]} was alive")
        if cancelled != (status == "cancelled"):
            asked = "was" if cancelled else "was not"
            self._wrong(run_id, f"it ended as {status} ({reason}), and its cancellation {asked} requested")
        elif status == "succeeded":
            task = self._task(before.get("claimed_by"))
            done = task.finished if task is not None else None
            if done is None or done.outcome != "succeeded" or task is None or task.attempt != before["attempt"]:
                self._wrong(run_id, f"it ended as succeeded, and in truth it is {done}")
            if "overdue" in before:
                self._wrong(run_id, "it ended as succeeded after its deadline")
        elif status == "failed":
            true = self._true_reasons(before)
            if reason not in true:
                self._wrong(run_id, f"it failed with the reason {reason}; true were {sorted(true)}")
            if self._repeats(before, str(reason)):
                self._wrong(run_id, f"it failed with the reason {reason}, and a budget was left for another attempt")

    def _true_reasons(self, head: Head) -> set[str]:
        """Give the reasons with which a run may fail now, from what was done to it and to its task."""
        if "overdue" in head:
            return {head["overdue"]["reason"]}
        launched = (head["run_id"], head["attempt"], head["launch"])
        reasons = set()
        report = head.get("report")
        if report is not None and report["outcome"] == "failed" and report.get("reason") != "stopped":
            return {report["reason"]}
        refusal = head.get("refusal")
        started = [arn for arn, task in self.tasks.items() if task.launch == launched]
        if refusal and not started:
            reasons.add(refusal["reason"])
        gone = all(self.tasks[arn].stopped for arn in started)
        if gone and "task_arn" not in head and self._never_answered(_moment(head["status_at"])):
            reasons.add("launch_unknown")
        for arn in started:
            reasons |= self._fates(arn, head)
        return reasons

    def _never_answered(self, launched_at: datetime) -> bool:
        """Tell whether a launch is too old to be sent again, and no sweep could do that in time."""
        from_then, until = launched_at + LAUNCH_SETTLES, launched_at + TOKEN_LASTS
        in_time = any(from_then < sweep < until for sweep in self._sweeps)
        hindered = sum(count for fault, count in self._world.faults.counts.items() if fault.startswith("ecs.")) > 1
        return self._world.now >= until and (hindered or not in_time)

    def _fates(self, arn: str, head: Head) -> set[str]:
        claimed = "claimed_by" in head
        reasons = {reason for said, reason in TOLD_BY_ECS.items() if said in self.tasks[arn].said}
        task = self._task(arn)
        for fate in task.fates if task is not None else ():
            kind, _, code = fate.partition(" ")
            if kind == "exit" and code == "None":
                reasons.add("infrastructure")
            elif kind == "exit" and int(code) > 128:
                reasons.add("task_killed")
            elif kind in ("exit", "raised"):
                reasons.add("result_missing" if claimed else "not_claimed")
            else:
                reasons |= _FATES.get(kind, set())
        if self._forgotten(arn):
            reasons |= {"task_lost", "stopped"}
        return reasons

    def _forgotten(self, arn: str) -> bool:
        """Tell whether ECS knows a task no more."""
        ended = self.tasks[arn].stopped_at
        return ended is not None and self._world.now - ended >= timedelta(seconds=self._world.faults.memory_seconds)

    def _repeats(self, head: Head, reason: str) -> bool:
        """Tell whether an attempt that fails for this reason is to be followed by another."""
        claimed, policy = "claimed_by" in head, head.get("retry")
        unreached = reason in ("not_claimed", "result_missing") and self._exited_with(head, {69, 75})
        platform = reason in INFRASTRUCTURE or unreached or (reason == "task_killed" and not claimed)
        if platform and (not claimed or head.get("spot")):
            return bool(head["infrastructure_retries"] < ATTEMPTS_FOR_INFRASTRUCTURE)
        if policy is None or not claimed or head["pipeline_retries"] + 1 >= policy["max_attempts"]:
            return False
        if policy["on"]:
            names = {reason}
            if "overdue" not in head and "report" in head and head["report"].get("error_type"):
                names |= {head["report"]["error_type"]}
            return bool(names & set(policy["on"]))
        return platform or reason in OF_THE_PIPELINE or reason == "task_killed"

    def _exited_with(self, head: Head, codes: set[int]) -> bool:
        fates = {f"exit {code}" for code in codes}
        return any(
            fates & set(task.fates)
            for task in self._world.runtime.tasks
            if (task.run_id, task.attempt) == (head["run_id"], head["attempt"])
        )

    # ------------------------------------------------------------ at rest

    def found(self, *, settled: bool) -> list[str]:
        """Give all that was wrong; `settled` says that nothing is under way any more."""
        found = list(self._found)
        if settled:
            self._found = []
            self._check_rest()
            found, self._found = found + self._found, found
        return found

    def _check_rest(self) -> None:
        world = self._world
        heads = {key[0]: from_item(item) for key, item in world.table.items.items() if key[1] == "head"}
        for run_id in self._accepted - heads.keys():
            self._wrong(run_id, "it was accepted and is lost")
        for run_id, head in heads.items():
            self._check_rest_of(run_id, head)
            if head["status"] == "queued" and self._may_start(head):
                self._wrong(run_id, "it waits though a slot is free")
        for group in {group for head in heads.values() for group in _groups(head)}:
            self._compare_counts(group)
        for arn, task in self.tasks.items():
            head = heads.get(task.launch[0], {})
            if not task.stopped and (head.get("status") not in HOLDING or head["attempt"] != task.launch[1]):
                self._wrong(task.launch[0], f"{arn} is alive, and nobody will ever stop it")
        for delivery in world.deliveries:
            self._wrong("", f"{delivery} was never delivered")

    def _check_rest_of(self, run_id: str, head: Head) -> None:
        claims = self.claims[run_id]
        if len({attempt for attempt, _ in claims}) < len(claims):
            self._wrong(run_id, f"one attempt was claimed twice: {claims}")
        allowed = 1 + head["infrastructure_retries"] + head["pipeline_retries"]
        if head["attempt"] != allowed or len(claims) > allowed:
            self._wrong(run_id, f"attempt {head['attempt']}, {len(claims)} claims, and its budgets paid for {allowed}")
        if len(claims) > 1 and not _repeatable(head):
            self._wrong(run_id, f"it was executed {len(claims)} times, though nobody said that it may be repeated")
        # An earlier record of the same id may have left stories, too.
        stories = [
            key
            for key, item in self._world.table.items.items()
            if key[0] == run_id and key[1].startswith("attempt#") and item["accepted_at"]["S"] == head["accepted_at"]
        ]
        if len(stories) != head["attempt"] - 1:
            self._wrong(run_id, f"at attempt {head['attempt']} it has the stories of {len(stories)} earlier ones")
        contents = set(self.published_ends[run_id])
        if len(contents) > 1:
            self._wrong(run_id, f"its end was announced with {len(contents)} contents: {contents}")
        if head["status"] in FINAL:
            if not contents or "announced_at" not in head:
                self._wrong(run_id, f"it ended as {head['status']}, and that was not announced")
        elif head["status"] == "starting" or (head["status"] == "running" and not self._runs_on(head)):
            self._wrong(run_id, f"it never ended: {head}")

    def _runs_on(self, head: Head) -> bool:
        task = self._task(head.get("claimed_by"))
        if task is None or not task.executing or task.work.deed != "runs_on":
            return False
        return not {"cancel_requested_at", "overdue", "timeout_seconds"} & head.keys()

    def _may_start(self, head: Head) -> bool:
        if "cancel_requested_at" in head:
            return True
        if "not_before" in head and _moment(head["not_before"]) > self._world.now:
            return False
        for group in _groups(head):
            item = self._world.table.items.get((f"capacity#{group}", "capacity"), {})
            limit = {"all": self._world.max_active}.get(group)
            if group.startswith("pipeline#") and "max_active_runs" in item:
                limit = int(item["max_active_runs"]["N"])
            elif group.startswith("key#"):
                limit = int(head["concurrency"]["limit"])
            if limit is not None and self._counts[group][0] >= limit:
                return False
        return True

    # ------------------------------------------------------------ inside

    def _task(self, arn: str | None) -> "SimulatedTask | None":
        return next((task for task in self._world.runtime.tasks if task.arn == arn), None)

    def _wrong(self, run_id: str, what: str) -> None:
        name = f"run {self._world.names.get(run_id, run_id)}: " if run_id else ""
        self._found.append(f"{name}{what} [{self._world.calls.last}]")


_FATES = {
    "killed": {"task_killed", "infrastructure"},
    "interrupted": {"spot_interrupted"},
    "host_lost": {"infrastructure"},
    "out_of_memory": {"out_of_memory"},
    "stopped_by_hand": {"task_stopped"},
}
"""What was done to a task -> the reasons that are true then. One killed before its container ran has no exit code."""


def _groups(head: Head) -> set[str]:
    groups = {"all", f"pipeline#{head['pipeline']}"}
    return groups | {f"key#{head['concurrency']['key']}"} if head.get("concurrency") else groups


def _repeatable(head: Head) -> bool:
    """Tell whether its caller said that a pipeline may be executed more than once."""
    return bool(head.get("spot")) or (head.get("retry") or {"max_attempts": 1})["max_attempts"] > 1


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
