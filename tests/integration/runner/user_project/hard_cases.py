"""Pipelines of a user whose code does what it should not, and one that is dynamic."""

import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel
from zenml import get_step_context, pipeline, step


@step
def first() -> int:
    """Go well."""
    return 1


@step
def raises(value: int, customer: str = "x") -> int:
    """Go wrong, deep down."""
    if value:
        raise KeyError(f"no such customer: {customer}, as {os.environ.get('DATABASE_PASSWORD')}")
    return value


@pipeline
def raising_pipeline(customer: str = "a") -> None:
    """Fail in its second step."""
    raises(first(), customer)


@step
def makes_a_mess(pid_file: str) -> None:
    """Print 100 MB, leave a process behind that holds stdout, and end the process as if all were well."""
    line = "x" * 1023 + "\n"
    for _ in range(100 * 1024):
        sys.stdout.write(line)
    sys.stdout.flush()
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(pid_file).write_text(str(left.pid))
    os._exit(0)


@pipeline
def messy_pipeline(pid_file: str) -> None:
    """Tell nothing."""
    makes_a_mess(pid_file)


@step
def sleeps(started_file: str) -> None:
    """Take long."""
    Path(started_file).write_text(str(os.getpid()))
    time.sleep(600)


@pipeline
def sleeping_pipeline(started_file: str) -> None:
    """Take long, in a step after another."""
    sleeps(started_file, after=first())


@step
def double(value: int) -> Annotated[int, "doubled"]:
    """Double a number."""
    return 2 * value


@step
def strange_values() -> tuple[Annotated[dict[str, Any], "with_nan"], Annotated[list[int], "large"]]:
    """Give what JSON does not know, and what is too large for a record."""
    return {"nan": float("nan"), "infinite": float("inf"), "one": 1.5}, list(range(20_000))


@pipeline(dynamic=True)
def dynamic_pipeline(
    count: int = 2,
) -> tuple[Annotated[int, "last"], Annotated[dict[str, Any], "with_nan"], Annotated[list[int], "large"]]:
    """Run as many steps as it is told."""
    with_nan, large = strange_values()
    value = double(1)
    for _ in range(count - 1):
        value = double(value)
    return value, with_nan, large


@step
def scale(value: int, factor: int = 2) -> Annotated[int, "scaled"]:
    """Multiply a number."""
    return factor * value


@pipeline
def scaling_pipeline() -> None:
    """Leave a parameter of a step at its default, which a run may set."""
    scale(first())


class Person(BaseModel):
    """A parameter with parts."""

    name: str = "Ada"
    born: date = date(1815, 12, 10)


@step
def describe(  # noqa: PLR0913, PLR0917 - one of each kind
    pair: tuple[int, str], day: date, person: Person, folder: str, words: tuple[str, ...] = ("a",), size: int = 1
) -> Annotated[dict[str, Any], "told"]:
    """Tell what came in, and what is configured; and a secret."""
    configuration = get_step_context().step_run.config
    return {
        "came": repr((pair, day, person.born, folder == os.environ["HOME"], words, size)),
        "extra": configuration.extra,
        "environment": os.environ.get("GREETING"),
        "address": f"postgres://ada:{os.environ.get('DATABASE_PASSWORD')}@db",
    }


def leave_a_mark() -> None:
    """Be a hook."""
    Path(os.environ["MARK"]).touch()


@pipeline(enable_cache=False)
def shaped_pipeline(
    day: date,
    pair: tuple[int, str] = (1, "a"),
    person: Person = Person(),  # noqa: B008 - as users write it
    folder: str = "${HOME}",
) -> None:
    """Take what JSON has no form for; one of it is configured in code."""
    describe(pair, day, person, folder)


shaped_pipeline.configure(parameters={"pair": (2, "b")})
