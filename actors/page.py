"""The page of a living producer: counters in a memory-mapped file (rolltape/storage/pages.py says which)."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np

from rolltape.schema.messages import ProducerKey
from rolltape.storage.pages import (
    COUNTED,
    EPISODES,
    HEAD,
    MAGIC,
    SEQUENCE,
    STEPS,
    STEPS_BEFORE,
    LastWords,
    page_path,
    read_page,
)

__all__ = [
    "COUNTED",
    "EPISODES",
    "SEQUENCE",
    "STEPS",
    "STEPS_BEFORE",
    "LastWords",
    "ProducerPage",
    "page_path",
    "read_page",
]


class ProducerPage:
    """A living producer's page. `words` is the raw view; the two arrays are views of it."""

    def __init__(self, path: Path, key: ProducerKey, num_envs: int) -> None:
        size = 8 * (HEAD + 2 * num_envs + 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(bytes(size))  # not a hole: on a full disk this raises, where a hole kills the process later
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        self.path = path
        self.words: memoryview = memoryview(self._map).cast("q")
        array = np.frombuffer(self._map, dtype=np.int64)
        self.episode_index = array[HEAD : HEAD + num_envs]
        self.episode_steps = array[HEAD + num_envs : HEAD + 2 * num_envs]
        self.episode_index[:] = -1
        self.episode_steps[:] = -1
        for place, value in enumerate((MAGIC, key.producer, key.incarnation, num_envs)):
            self.words[place] = value

    @property
    def skipped(self) -> int:
        """Steps that were left out of the recording on purpose."""
        return self.words[len(self.words) - 1]

    @skipped.setter
    def skipped(self, steps: int) -> None:
        self.words[len(self.words) - 1] = steps
