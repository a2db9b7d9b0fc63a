"""What can be replayed how: by where steps come from, autoreset mode, and what was seeded.

Declared here once: docs/replay.md shows it, and tests/ray/test_replay_table.py records and replays every cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MODES: Final = ("next_step", "same_step", "disabled")


@dataclass(frozen=True, slots=True)
class Source:
    """One row of the table.

    Attributes:
        name: where the steps come from, and which resets were seeded.
        first: how the episodes of a reset that was given a seed replay.
        later: how the episodes after it replay, that is those of resets without a seed.
        modes: autoreset modes that there are; empty for a single environment, which has none.
    """

    name: str
    first: str
    later: str
    modes: tuple[str, ...] = MODES


TABLE: Final = (
    Source("Fleet", "alone", "alone"),
    Source("Fleet, native", "batch", "batch", ("next_step",)),
    Source("record(Env), each reset seeded", "alone", "alone", ()),
    Source("record(Env), seeded once", "alone", "forward", ()),
    Source("record(Env), never seeded", "none", "none", ()),
    Source("record(SyncVectorEnv), seeded once", "alone", "forward"),
    Source("record(SyncVectorEnv), never seeded", "none", "none"),
    Source("record(AsyncVectorEnv), seeded once", "alone", "forward"),
    Source("record(native), seeded once", "batch", "batch"),
    Source("record(native), reset in between", "batch", "batch"),
    Source("record(native), never seeded", "none", "none", ("next_step",)),
)


def cells() -> Iterator[tuple[Source, str | None]]:
    """Every source with each of its autoreset modes; None for a single environment."""
    for source in TABLE:
        for mode in source.modes or (None,):
            yield source, mode


def markdown() -> str:
    """The table as docs/replay.md has it."""
    lines = [
        "| where the steps come from | next_step | same_step | disabled |",
        "|---|---|---|---|",
    ]
    for source in TABLE:
        told = source.first if source.first == source.later else f"{source.first}, then {source.later}"
        told = "not" if told == "none" else told
        if not source.modes:
            lines.append(f"| {source.name} | {told} (a single environment has no autoreset) | | |")
            continue
        lines.append(f"| {source.name} | " + " | ".join(told if m in source.modes else "–" for m in MODES) + " |")
    return "\n".join(lines)
