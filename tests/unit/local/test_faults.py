"""Which faults happen, and when: specifications, seeds and scripts."""

from __future__ import annotations

import threading

import pytest

from local.faults import Faults, FaultSpecError, what_there_is


def happened(faults: Faults, count: int, *asked: str) -> list[bool]:
    return [faults.happens(*asked) for _ in range(count)]


class TestSpecifications:
    def test_a_line_says_faults_and_settings(self) -> None:
        faults = Faults.parse(
            "ecs.RunTask.lost_answer=0.2,ecs.capacity=0.3, ecs.spot_interruption=.05,dynamodb.conflict=0.1 "
            "dynamodb.lost_answer=0.05,events.repeat=0.3,events.missing=0.2,stream.delay=1,seed=7,delay_seconds=0.5,"
            "memory_seconds=60"
        )
        assert (faults.seed, faults.delay_seconds, faults.memory_seconds) == (7, 0.5, 60)
        assert str(faults).splitlines() == [
            "ecs.RunTask.lost_answer: 20%",
            "ecs.capacity: 30%",
            "ecs.spot_interruption: 5%",
            "dynamodb.conflict: 10%",
            "dynamodb.lost_answer: 5%",
            "events.repeat: 30%",
            "events.missing: 20%",
            "stream.delay: 100%",
        ]

    def test_an_empty_line_has_none(self) -> None:
        faults = Faults.parse("  ")
        assert str(faults) == "none"
        assert not any(happened(faults, 100, "ecs", "throttle", "RunTask"))
        assert faults.counts == {}

    @pytest.mark.parametrize(
        "name",
        [
            "ecs.FARGATE_SPOT.capacity",
            "ecs.subnet-0a1b.capacity",
            "ecs.FARGATE@subnet-0a1b.capacity",
            "ecs.FARGATE.image_pull",
            "dynamodb.TransactWriteItems.conflict",
            "events.PutEvents.throttle",
            "events.aws.ecs.missing",
            "stream.Runs.repeat",
            "lambda.RunTask.killed_after",
            "lambda.TriggerFunction@RunTask.killed_before",
        ],
    )
    def test_a_fault_may_be_of_one_thing_alone(self, name: str) -> None:
        assert str(Faults.parse(f"{name}=0.001")) == f"{name}: 0.001"

    @pytest.mark.parametrize(
        ("spec", "problem"),
        [
            ("ecs.capacty=1", "There is no fault 'ecs.capacty'."),
            ("sqs.repeat=1", "There is no fault 'sqs.repeat'."),
            ("ecs=1", "There is no fault 'ecs'."),
            ("ecs.RunTasks.throttle=1", "There is no 'RunTasks' to which ecs.throttle could happen."),
            ("ecs.RunTask.capacity=1", "There is no 'RunTask' to which ecs.capacity could happen."),
            ("ecs.FARGATE.missing=1", "There is no 'FARGATE' to which ecs.missing could happen."),
            ("lambda.a.b.killed_after=1", "There is no 'a.b' to which lambda.killed_after could happen."),
            ("dynamodb.Query.conflict=1", "There is no 'Query' to which dynamodb.conflict could happen."),
            ("ecs.capacity", "'ecs.capacity' is not FAULT=RATE."),
            ("ecs.capacity=often", "'ecs.capacity=often' is not FAULT=RATE."),
            ("ecs.capacity=-1", "'ecs.capacity=-1' is not FAULT=RATE."),
            ("ecs.capacity=1.5", "ecs.capacity=1.5 is no probability"),
            ("seed=0.5", "The seed is a whole number."),
        ],
    )
    def test_a_wrong_one_is_refused_and_says_what_there_is(self, spec: str, problem: str) -> None:
        with pytest.raises(FaultSpecError) as refusal:
            Faults.parse(spec)
        assert str(refusal.value).startswith(problem)
        assert "ecs.{throttle, " in str(refusal.value)
        assert "stream.{delay, repeat}" in str(refusal.value)
        assert "missing, repeat, delay}; lambda." in str(refusal.value)

    def test_the_help_explains_each(self) -> None:
        told = what_there_is()
        assert "  ecs.spot_interruption        a task of FARGATE_SPOT is interrupted" in told
        assert "  seed " in told


class TestChance:
    def test_one_seed_gives_the_same_again(self) -> None:
        asked = ("ecs", "throttle", "RunTask")
        first, again, other = (Faults.parse(f"ecs.throttle=0.3,seed={seed}") for seed in (1, 1, 2))
        drawn = happened(first, 200, *asked)
        assert drawn == happened(again, 200, *asked)
        assert drawn != happened(other, 200, *asked)
        assert 30 < sum(drawn) < 90
        assert first.counts == {"ecs.RunTask.throttle": sum(drawn)}

    def test_one_more_fault_leaves_the_others_as_they_were(self) -> None:
        alone, beside = Faults.parse("ecs.throttle=0.3"), Faults.parse("dynamodb.throttle=0.5,ecs.throttle=0.3")
        drawn = []
        for _ in range(100):
            beside.happens("dynamodb", "throttle", "Query")
            drawn.append(beside.happens("ecs", "throttle", "RunTask"))
        assert drawn == happened(alone, 100, "ecs", "throttle", "RunTask")

    def test_always_and_never(self) -> None:
        faults = Faults()
        faults.always("events.missing")
        assert all(happened(faults, 5, "events", "missing", "aws.ecs"))
        faults.never("events.missing")
        assert not any(happened(faults, 5, "events", "missing", "aws.ecs"))


class TestScripts:
    def test_the_next_ones(self) -> None:
        faults = Faults()
        faults.next("ecs.RunTask.lost_answer", 2, after=1)
        assert not faults.happens("ecs", "lost_answer", "StopTask")
        assert happened(faults, 5, "ecs", "lost_answer", "RunTask") == [False, True, True, False, False]
        assert str(faults) == "none"

    def test_every_so_many_th(self) -> None:
        faults = Faults()
        faults.every("ecs.throttle", 3)
        asked = [faults.happens("ecs", "throttle", action) for action in ("RunTask", "ListTasks") * 3]
        assert asked == [False, False, True, False, False, True]

    def test_several_scripts_of_one_fault_pass_side_by_side(self) -> None:
        faults = Faults()
        faults.next("dynamodb.conflict", after=1)
        faults.next("dynamodb.PutItem.conflict", after=3)
        assert happened(faults, 5, "dynamodb", "conflict", "PutItem") == [False, True, False, True, False]

    def test_a_name_that_is_none_is_refused_there_too(self) -> None:
        for say in (Faults().always, Faults().next, lambda name: Faults().every(name, 2)):
            with pytest.raises(FaultSpecError, match=r"There is no fault 'ecs\.nothing'"):
                say("ecs.nothing")

    def test_nothing_happens_and_no_occasion_counts_while_suspended(self) -> None:
        faults = Faults()
        faults.next("ecs.throttle")
        with faults.suspended():
            assert not faults.happens("ecs", "throttle", "RunTask")
        assert faults.happens("ecs", "throttle", "RunTask")

    def test_all_can_be_taken_back(self) -> None:
        faults = Faults.parse("ecs.throttle=1,events.missing=1")
        faults.clear()
        assert str(faults) == "none"
        assert not faults.happens("ecs", "throttle", "RunTask")

    def test_delivery_can_be_stopped_and_resumed(self) -> None:
        faults = Faults()
        faults.stop_delivery()
        assert faults.happens("events", "missing", "zentrigger")
        assert faults.happens("stream", "delay", "Runs")
        faults.resume_delivery()
        assert str(faults) == "none"


class TestLater:
    def test_what_is_put_off_is_held_until_it_is_released(self) -> None:
        faults, done = Faults(), list[int]()
        faults.later(lambda: done.append(1))
        faults.later(lambda: faults.later(lambda: done.append(3)))
        faults.later(lambda: done.append(2))
        assert (faults.held, done) == (3, [])
        assert faults.release(1) == 1
        assert done == [1]
        assert faults.release() == 3
        assert done == [1, 2, 3]

    def test_with_timers_it_happens_by_itself(self) -> None:

        faults, done = Faults(), threading.Event()
        faults.delay_seconds = 0.01
        faults.use_timers()
        faults.later(done.set)
        assert done.wait(5)
        assert faults.held == 0

    def test_nothing_comes_after_close(self) -> None:
        faults, done = Faults(), list[int]()
        faults.later(lambda: done.append(1))
        faults.close()
        faults.later(lambda: done.append(2))
        assert (faults.release(), done) == (0, [])

    def test_an_error_of_what_was_put_off_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        faults = Faults()
        faults.delay_seconds = 0
        faults.use_timers()

        reached = threading.Event()

        def broken() -> None:
            reached.set()
            raise RuntimeError("the queue is gone")

        faults.later(broken)
        assert reached.wait(5)
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.join(5)
        assert "the queue is gone" in caplog.text
