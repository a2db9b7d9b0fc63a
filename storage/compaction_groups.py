"""Which parts of a run a compaction merges into one, while the run is recorded and afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from .layout import CommitRange, WriterId

Level = Literal["normal", "archive"]

PART_BYTES: Final = 4 << 30
"""No part of a compaction is made larger than this, as far as its sources tell."""
SINGLES: Final = 240
"""Commits that are merged at once while a run is recorded: some minutes of them."""
FAN: Final = 16
"""Merged parts of one size that are merged again."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A marker that exists and lies inside no other: its range, the bytes of its largest part, and its level."""

    commits: CommitRange
    part_bytes: int
    level: str


def live_groups(pieces: Sequence[Piece], part_bytes: int = PART_BYTES, *, singles: int = SINGLES) -> list[list[Piece]]:
    """What is worth merging while a run is recorded: `singles` commits, or `FAN` parts of one size.

    So each row is written again a few times at most, and the number of parts grows with the logarithm of the run's
    length, until parts reach `part_bytes`. Writers that were replaced are merged whole, because nothing is added to
    them.
    """
    found: list[list[Piece]] = []
    newest = _newest_writers(pieces)
    for writer, own in groupby(pieces, lambda p: p.commits.writer):
        mine = list(own)
        if writer not in newest:
            found += [group for group in _filled(mine, part_bytes) if len(group) > 1]
            continue
        for tier, run in groupby(mine[:-1], lambda p: _tier(p, singles)):
            group = list(run)
            enough = singles if tier == 0 else FAN
            if len(group) >= enough:
                found += [g for g in _filled(group, part_bytes) if len(g) > 1]
    return found


def all_groups(
    pieces: Sequence[Piece], level: Level, *, alive: bool, part_bytes: int = PART_BYTES
) -> list[list[Piece]]:
    """As few parts as `part_bytes` allows; at the archive level also single ones that were not archived before.

    `alive`: the run may be going on, so the newest marker of a writer is left alone.
    """
    found: list[list[Piece]] = []
    newest = _newest_writers(pieces) if alive else set()
    for writer, own in groupby(pieces, lambda p: p.commits.writer):
        mine = list(own)
        for group in _filled(mine[:-1] if writer in newest else mine, part_bytes):
            if len(group) > 1 or (level == "archive" and group[0].level != "archive"):
                found.append(group)
    return found


def _newest_writers(pieces: Sequence[Piece]) -> set[WriterId]:
    """The newest writer of each slot: it may be alive."""
    newest: dict[int, WriterId] = {}
    for piece in pieces:
        writer = piece.commits.writer
        newest[writer.slot] = max(newest.get(writer.slot, writer), writer)
    return set(newest.values())


def _tier(piece: Piece, singles: int) -> int:
    commits, tier = piece.commits.last - piece.commits.first + 1, 0
    if not piece.commits.compacted:
        return 0
    while commits >= singles * FAN ** (tier + 1):
        tier += 1
    return tier + 1


def _filled(pieces: Sequence[Piece], part_bytes: int) -> list[list[Piece]]:
    """Cut consecutive pieces where commits are missing between them or a part would become too large."""
    groups: list[list[Piece]] = []
    size = 0
    for piece in pieces:
        follows = groups and groups[-1][-1].commits.last + 1 == piece.commits.first
        if not follows or size + piece.part_bytes > part_bytes:
            groups.append([])
            size = 0
        groups[-1].append(piece)
        size += piece.part_bytes
    return groups


def range_of(group: Sequence[Piece]) -> CommitRange:
    """The range of the parts that cover a group: one that is there already is written again under the next number."""
    first, last = group[0].commits, group[-1].commits
    return CommitRange(first.writer, first.first, last.last, first.again + 1 if len(group) == 1 else 0)
