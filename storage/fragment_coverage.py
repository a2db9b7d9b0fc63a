"""Whether every fragment that was acknowledged is in one commit, and what the ledger says of those that are in none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from rolltape.schema.messages import ProducerKey, Watermark

from .layout import MARKER_SUFFIX, CommitRange
from .ledger import Loss
from .markers import FragmentRange, Marker


class Uncovered(NamedTuple):
    """Fragments `first` to `last`, both inclusive, of a key that are in no commit, or in two."""

    what: Literal["missing", "twice"]
    key: ProducerKey
    first: int
    last: int


def uncovered(markers: Iterable[Marker], watermarks: Mapping[ProducerKey, Watermark]) -> Iterator[Uncovered]:
    """What is wrong with the fragments of these markers, none of which covers another, by key and fragment.

    Args:
        markers: the commits that count.
        watermarks: what is durable of each key: its fragments are 1 to `sequence`.
    """
    ranges: dict[ProducerKey, list[FragmentRange]] = {}
    for marker in markers:
        for fragment in marker.fragments:
            ranges.setdefault(ProducerKey(fragment.producer, fragment.incarnation), []).append(fragment)
    for key in sorted({*ranges, *watermarks}):
        done = 0
        for one in sorted(ranges.get(key, []), key=lambda f: f.first):
            if one.first > done + 1:
                yield Uncovered("missing", key, done + 1, one.first - 1)
            if one.first <= done:
                yield Uncovered("twice", key, one.first, min(one.last, done))
            done = max(done, one.last)
        expected = watermarks.get(key, Watermark()).sequence
        if done < expected:
            yield Uncovered("missing", key, done + 1, expected)


def fragments_declared(losses: Iterable[Loss], key: ProducerKey, first: int, last: int) -> bool:
    """Whether the ledger says of all these fragments, in one row, that the marker of their commit is lost."""
    for loss in losses:
        if loss.of == key and loss.cause == "marker_lost":
            begin, end = loss.first_fragment, loss.last_fragment
            if begin is not None and end is not None and begin <= first and last <= end:
                return True
    return False


def hole_declared(losses: Iterable[Loss], hole: CommitRange) -> bool:
    """Whether the ledger says of one of these commits that its marker is lost."""
    for loss in losses:
        if loss.cause == "marker_lost" and loss.file:
            said = CommitRange.parse(loss.file.removeprefix("commits/"), MARKER_SUFFIX)
            if said and said.writer == hole.writer and said.first <= hole.last and hole.first <= said.last:
                return True
    return False
