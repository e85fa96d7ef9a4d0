"""The size of a run's task: which pairs of CPU and memory Fargate has."""

from typing import Self

from pydantic import BaseModel, ConfigDict, StrictInt, model_validator

SIZES: dict[int, range] = {
    256: range(512, 2048 + 1, 512),
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
}
"""CPU units -> MiB of memory (Amazon ECS Developer Guide, "Task CPU and memory"). For 256 there is no 1536."""

_MISSING = {(256, 1536)}


class Resources(BaseModel):
    """CPU units (1024 is one vCPU) and MiB of memory of a run's task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu: StrictInt
    memory: StrictInt

    @model_validator(mode="after")
    def _is_offered(self) -> Self:
        if self.cpu not in SIZES:
            raise ValueError(f"Fargate has no tasks of {self.cpu} CPU units; it has {', '.join(map(str, SIZES))}")
        if self.memory not in SIZES[self.cpu] or (self.cpu, self.memory) in _MISSING:
            offered = [memory for memory in SIZES[self.cpu] if (self.cpu, memory) not in _MISSING]
            raise ValueError(
                f"with {self.cpu} CPU units, Fargate has a memory of {', '.join(map(str, offered))} MiB,"
                f" not {self.memory}"
            )
        return self
