"""How the last runs went."""

import pytest

from tests.factories import run
from zentrigger.track_record import track_record


def test_successes_among_what_ended() -> None:
    """Cancelled runs ended, too; those that go on do not count yet."""
    statuses = ("running", "succeeded", "failed", "cancelled", "succeeded")
    runs = [run(status=status) for status in statuses]

    record = track_record(runs)

    assert record.last == runs[0]
    assert (record.succeeded, record.ended, record.looked_at) == (2, 4, 5)
    assert record.success_rate == pytest.approx(0.5)


def test_of_one_snapshot() -> None:
    """Its own runs only; without any there is nothing to say."""
    runs = [run(snapshot="p:2", status="failed"), run(snapshot="p:1", status="succeeded")]

    assert track_record(runs, "p:1").last == runs[1]
    assert track_record(runs, "p:1").success_rate == 1
    nothing = track_record(runs, "p:11")
    assert (nothing.last, nothing.success_rate, nothing.looked_at) == (None, None, 2)
