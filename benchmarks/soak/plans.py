"""What a soak asks for: runs of every kind, and what is to become of each of their tasks. All from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from benchmarks.soak.tasks import ERROR, Fate, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

CONCURRENCY_KEYS: Final = {"customer 1": 1, "customer 2": 1, "customer 3": 2}
"""Concurrency key -> how many of its runs may be active."""

_FATES: Final[Mapping[Kind, int]] = {
    "succeeds": 50,
    "raises": 10,
    "exits": 4,
    "vanishes": 4,
    "killed_before": 6,
    "killed_after": 5,
    "killed_reported": 3,
    "gives_up": 2,
    "cannot_read": 1,
    "out_of_memory": 3,
    "host_lost_before": 2,
    "host_lost_after": 2,
    "image_missing": 1,
    "no_egress": 2,
    "no_capacity": 2,
    "stopped_by_hand": 2,
}
_SPOT_FATES: Final[Mapping[Kind, int]] = {"succeeds": 2, "interrupted_before": 3, "interrupted_after": 5}


@dataclass(frozen=True)
class Plan:
    """One run to ask for.

    Attributes:
        number: Which of the soak's runs.
        fates: What becomes of the task of each attempt; of further ones, success.
        request: What is asked for besides the pipeline.
        idempotent: Whether it is asked for with an idempotency key.
        twins: How often the same is asked for at the same time.
        cancel_after: Seconds after which its end is asked for; None: never.
        arrives: Whether it is born of an object that arrives in S3.

    """

    number: int
    fates: tuple[Fate, ...]
    request: Mapping[str, Any] = field(default_factory=dict)
    idempotent: bool = False
    twins: int = 1
    cancel_after: float | None = None
    arrives: bool = False

    def fate(self, attempt: int) -> Fate:
        """Give what becomes of an attempt's task."""
        return self.fates[attempt - 1] if attempt <= len(self.fates) else Fate()

    @property
    def skips(self) -> bool:
        """Whether it is skipped if its concurrency key is taken."""
        return bool(self.request.get("concurrency", {}).get("on_conflict") == "skip")


def make_plans(count: int, seed: int) -> list[Plan]:
    """Give what to ask for; the same for the same seed, whatever the count."""
    return [_plan(number, random.Random(f"{seed}/{number}")) for number in range(count)]  # noqa: S311 - no secret


def _plan(number: int, chance: random.Random) -> Plan:
    if chance.random() < 0.1:  # noqa: PLR2004 - one in ten
        return Plan(number, (_fate(_FATES, chance),), arrives=True)
    request: dict[str, Any] = {}
    spot = chance.random() < 0.1  # noqa: PLR2004 - the same
    fates = [_fate(_SPOT_FATES if spot else _FATES, chance)]
    if spot:
        request["spot"] = True
    if chance.random() < 0.25:  # noqa: PLR2004 - one in four
        request["retry"] = _retry(chance)
    # Many fail more than once, some as often as they may and once more.
    while len(fates) < 5 and chance.random() < 0.4:  # noqa: PLR2004 - the budget and one more; two in five
        fates.append(_fate(_FATES, chance))
    if chance.random() < 0.2:  # noqa: PLR2004 - one in five
        request["priority"] = chance.randint(-10, 10)
    if chance.random() < 0.15:  # noqa: PLR2004 - three in twenty
        key = chance.choice(sorted(CONCURRENCY_KEYS))
        conflict = chance.choice(("queue", "queue", "queue", "skip", "reject"))
        request["concurrency"] = {"key": key, "limit": CONCURRENCY_KEYS[key], "on_conflict": conflict}
    idempotent = chance.random() < 0.5  # noqa: PLR2004 - every other
    return Plan(
        number,
        tuple(fates),
        request,
        idempotent=idempotent,
        twins=chance.choice((1, 1, 2, 3)) if idempotent else 1,
        cancel_after=chance.uniform(0, 1.5) if chance.random() < 0.12 else None,  # noqa: PLR2004 - one in eight
    )


def _fate(fates: Mapping[Kind, int], chance: random.Random) -> Fate:
    (kind,) = chance.choices(list(fates), list(fates.values()))
    return Fate(kind, chance.uniform(0.05, 1.2))


def _retry(chance: random.Random) -> dict[str, Any]:
    policy: dict[str, Any] = {"max_attempts": chance.randint(2, 4), "backoff_seconds": chance.randint(0, 3)}
    on = chance.choice(((), (), (ERROR,), ("TableError", "out_of_memory"), ("task_killed", "result_missing")))
    return policy | ({"on": list(on)} if on else {})
