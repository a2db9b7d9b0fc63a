"""What an inspected recording lacks and its ledger does not say yet: the losses that a repair declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rolltape.schema.messages import ProducerKey, Watermark

from .fragment_coverage import fragments_declared, hole_declared, uncovered
from .layout import CommitRange, list_tables
from .ledger import Loss
from .markers import Marker, PartEntry
from .verify import Inspection


def undeclared(found: Inspection, now_us: int) -> list[Loss]:
    """All of them; `now_us` is the UTC time of the declaration in microseconds."""
    marks = _all_marks(found)
    return _of_parts(found, marks, now_us) + _of_fragments(found, marks, now_us)


def bad_entries(found: Inspection) -> list[tuple[CommitRange, PartEntry, str]]:
    """Parts that markers speak of and that are `damaged` or `missing`."""
    checks = [check for check in found.checks if check.faults]
    bad = [(check.commits, check.entry, "damaged") for check in checks if check.entry is not None]
    for commits, marker in found.visible():
        for entry in marker.parts:
            if not (found.run.path / entry.file).exists():
                bad.append((commits, entry, "missing"))
    return bad


def _of_parts(found: Inspection, marks: Mapping[tuple[ProducerKey, int], Watermark], now_us: int) -> list[Loss]:
    """A loss for each producer and part that is damaged or missing, unless that is declared."""
    declared = {(loss.table, loss.file) for loss in found.losses if loss.stage == "gone"}
    losses: list[Loss] = []
    for commits, entry, cause in bad_entries(found):
        if (entry.table, entry.file) not in declared:
            losses += _of_entry(entry, found.markers[commits], marks, cause, now_us)
    return losses


def _of_entry(
    entry: PartEntry,
    marker: Marker,
    marks: Mapping[tuple[ProducerKey, int], Watermark],
    cause: str,
    now_us: int,
) -> list[Loss]:
    """What a part held, by producer where the watermarks tell.

    Args:
        entry: the part.
        marker: its marker.
        marks: watermarks by key and sequence.
        cause: `damaged` or `missing`.
        now_us: UTC time of the declaration in microseconds.
    """
    common: dict[str, Any] = {
        "file": entry.file,
        "last_time_us": marker.time_ns // 1000,
        "declared_us": now_us,
    }
    found: list[Loss] = []
    for one in marker.fragments:
        key = ProducerKey(one.producer, one.incarnation)
        before = Watermark() if one.first == 1 else marks.get((key, one.first - 1))
        after = marks.get((key, one.last))
        of: dict[str, Any] = {"of": key, "first_fragment": one.first, "last_fragment": one.last}
        if entry.table in ("steps", "episodes") and before is not None and after is not None:
            rows = getattr(after, entry.table) - getattr(before, entry.table)
            if entry.table == "steps":
                of |= {"first_step": before.steps, "last_step": after.steps}
            if rows:
                found.append(Loss(entry.table, cause, rows=rows, **of, **common))
        elif len(marker.fragments) == 1:
            found.append(Loss(entry.table, cause, rows=entry.rows, **of, **common))
    if sum(loss.rows or 0 for loss in found) == entry.rows:
        return found
    return [Loss(entry.table, cause, rows=entry.rows, **common)]


def _of_fragments(found: Inspection, marks: Mapping[tuple[ProducerKey, int], Watermark], now_us: int) -> list[Loss]:
    """Losses for commits whose marker is lost: what the watermarks say was durable, and no commit holds."""
    lost = [f"commits/{c.marker_name}" for c in found.bad_markers]
    holes = [f"commits/{CommitRange(*hole).marker_name}" for hole in found.holes]
    losses: list[Loss] = []
    for what, key, first, last in uncovered((marker for _, marker in found.visible()), found.watermarks()):
        if what != "missing" or fragments_declared(found.losses, key, first, last):
            continue
        common: dict[str, Any] = {
            "cause": "marker_lost",
            "of": key,
            "first_fragment": first,
            "last_fragment": last,
            "last_time_us": now_us,
            "declared_us": now_us,
            "file": (lost or holes or [None])[0],
        }
        before, after = marks.get((key, first - 1)), marks.get((key, last))
        steps = None if before is None or after is None else after.steps - before.steps
        episodes = None if before is None or after is None else after.episodes - before.episodes
        start = None if before is None else before.steps
        end = None if after is None else after.steps
        losses.append(Loss("steps", rows=steps, first_step=start, last_step=end, **common))
        if episodes != 0:
            losses.append(Loss("episodes", rows=episodes, **common))
        if key.producer >= 0 and list_tables(found.run, ("frames",))["frames"]:
            losses.append(Loss("frames", **common))
    for hole, name in zip(found.holes, holes, strict=True):  # a commit that held nothing that can be told
        if not hole_declared([*found.losses, *losses], CommitRange(*hole)):
            times: dict[str, Any] = {"last_time_us": now_us, "declared_us": now_us}
            losses.append(Loss("steps", "marker_lost", rows=None, file=name, **times))
    return losses


def _all_marks(found: Inspection) -> dict[tuple[ProducerKey, int], Watermark]:
    """The watermarks of all readable markers by key and sequence, and that of the beginning."""
    marks = {(key, 0): Watermark() for key in found.watermarks()}
    for marker in found.markers.values():
        marks |= {(key, mark.sequence): mark for key, mark in marker.watermarks.items()}
    return marks
