"""Pipelines of a user that do what they should not."""

import ctypes
import os
import subprocess
import sys
import time
from typing import Literal

from zenml import pipeline, step

Manner = Literal["raise", "segfault", "exit", "print", "eat", "leave_children", "sleep"]


@step
def misbehave(manner: str) -> int:
    """Do it."""
    if manner == "raise":
        raise ValueError("no such customer: größe")
    if manner == "segfault":
        ctypes.string_at(0)
    if manner == "exit":
        os._exit(0)
    if manner == "print":
        line = "x" * 1023 + "\n"
        for _ in range(100 * 1024):
            sys.stdout.write(line)
    if manner == "eat":
        eaten = []
        while True:
            eaten.append(bytearray(b"x" * 50_000_000))
    if manner == "leave_children":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1234)"], start_new_session=True)
    if manner == "sleep":
        time.sleep(600)
    return 1


@pipeline
def misbehaving_pipeline(manner: Manner) -> None:
    """Do what it should not, or (print, leave_children) what it may."""
    misbehave(manner)
