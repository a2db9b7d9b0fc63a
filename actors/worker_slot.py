"""The slots of a fleet's workers: how sub-environments and work are divided, and what outlives a worker's death."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rolltape.schema.errors import ConfigError
from rolltape.schema.messages import ProducerKey

from .env_worker import WorkerOrder
from .obituary import Obituary


@dataclass(slots=True)
class WorkerSlot:
    """One producer number and its sub-environments, whichever worker steps them.

    Attributes:
        order: of the worker that has it now.
        worker: its actor; None before it was started.
        deaths: of workers in a row, none of which made a step durable.
        steps_left, episodes_left: of the work that `collect` gave it; None: not bounded.
        steps_before, episodes_before: what the worker had collected before that.
    """

    order: WorkerOrder
    worker: Any = None
    deaths: int = 0
    steps_left: int | None = None
    episodes_left: int | None = None
    steps_before: int = 0
    episodes_before: int = 0

    def succeed(self, obituary: Obituary) -> None:
        """The next order is for another worker, one incarnation higher, which says what this one lost."""
        key = ProducerKey(self.order.key.producer, self.order.key.incarnation + 1)
        self.order = replace(self.order, key=key, obituary=obituary)
        self.steps_before = self.episodes_before = 0


def workers_of(num_envs: int, num_workers: int) -> int:
    """How many workers share so many sub-environments; `num_workers` 0: one a CPU but one. Raises ConfigError."""
    if num_workers == 0:
        return max(1, min(num_envs, (os.cpu_count() or 2) - 1))
    if num_workers > num_envs:
        raise ConfigError(
            f"fleet.num_workers: must be at most fleet.num_envs = {num_envs}, or 0 for an automatic number "
            f"(got {num_workers})."
        )
    return num_workers


def sub_envs_of(number: int, workers: int, num_envs: int) -> tuple[int, int]:
    """How many sub-environments the worker `number` of `workers` has, and its first one."""
    share, rest = divmod(num_envs, workers)
    return share + (number < rest), number * share + min(number, rest)


def shares(total: int | None, slots: Sequence[WorkerSlot]) -> list[int | None]:
    """Divide work in proportion to sub-environments; the sum is `total`."""
    if total is None:
        return [None] * len(slots)
    envs = sum(slot.order.num_envs for slot in slots)
    ends = [total * (slot.order.offset + slot.order.num_envs) // envs for slot in slots]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]
