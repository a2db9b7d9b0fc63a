"""The counters of a producer in a memory-mapped file, which outlives the process that writes them: reading them.

After a SIGKILL the page still says what was produced (the kernel owns it), so that the next incarnation repeats neither
an episode nor a seed, and the loss is a number and not a guess. Words are little-endian int64:

    0 magic · 1 producer · 2 incarnation · 3 number of sub-environments · 4 sequence · 5 steps · 6 episode rows
    7 steps before the newest episode, for a producer that only counts all its steps
    8 … 8+N       episode index k of each sub-environment (-1: none yet)
    8+N … 8+2N    steps of that episode so far (-1: it has ended; -2: what word 5 has more than word 7)
    8+2N          steps that were left out of the recording on purpose; not in pages of before
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from rolltape.schema.messages import ProducerKey

MAGIC: Final = 0x45474150_544C4F52
SEQUENCE, STEPS, EPISODES, STEPS_BEFORE = 4, 5, 6, 7
COUNTED: Final = -2
"""In place of an episode's steps: the producer's steps since `STEPS_BEFORE`, so that a step writes one word."""
IMPLAUSIBLE: Final = 1 << 40
HEAD: Final = 8
"""Words before the arrays."""


@dataclass(frozen=True, slots=True)
class LastWords:
    """What a page says after its producer is gone. `steps` are those to be recorded.

    `episode_index` and `episode_steps` have one int64 a sub-environment; -1: none yet, or it has ended.
    """

    key: ProducerKey
    sequence: int
    steps: int
    episodes: int
    episode_index: np.ndarray
    episode_steps: np.ndarray


def page_path(folder: Path, key: ProducerKey) -> Path:
    """Where the page of `key` lies in the run's `producers` folder."""
    return folder / f"{key}.page"


def read_page(path: Path) -> LastWords | None:
    """The last words of a producer, or None where the page is missing or not one of ours."""
    try:
        words = np.fromfile(path, dtype=np.int64)
    except OSError:
        return None
    if len(words) < HEAD or words[0] != MAGIC or len(words) - HEAD - 2 * words[3] not in (0, 1):
        return None
    n = int(words[3])
    if (words[3:] > IMPLAUSIBLE).any() or (words[SEQUENCE:HEAD] < 0).any():
        return None  # damaged; nobody counts so far
    steps = words[HEAD + n : HEAD + 2 * n]
    skipped = int(words[HEAD + 2 * n]) if len(words) > HEAD + 2 * n else 0
    steps[steps == COUNTED] = words[STEPS] - words[STEPS_BEFORE]
    return LastWords(
        key=ProducerKey(int(words[1]), int(words[2])),
        sequence=int(words[SEQUENCE]),
        steps=int(words[STEPS]) - skipped,
        episodes=int(words[EPISODES]),
        episode_index=words[HEAD : HEAD + n],
        episode_steps=steps,
    )
