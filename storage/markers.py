"""Markers: the small JSON file that makes a commit exist, and what can be told from the markers of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rolltape.schema.errors import CorruptRecording
from rolltape.schema.messages import ProducerKey, Watermark
from rolltape.schema.mismatches import Mismatch

from .files import FileOps
from .json_seal import seal_of, sealed
from .layout import FORMAT, MARKER_SUFFIX, CommitRange, RunFolder, WriterId

PAYLOAD_VERSION_OF_SILENCE: Final = 1
"""In which version a producer spoke of whom a marker does not say it; never changes."""
UNKNOWN_DIGEST: Final = "sha256:unknown"
"""Of a part that was damaged together with its marker (rebuilding.py): fits no content."""


class FragmentRange(NamedTuple):
    """Fragments `first` to `last`, both inclusive, of one producer key."""

    producer: int
    incarnation: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class PartEntry:
    """A part of a commit: table, name relative to the run, rows, bytes of the file, `sha256:<hex>` of them."""

    table: str
    file: str
    rows: int
    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Marker:
    """The marker of `commits`, as docs/format.md describes it.

    `watermarks` and `fenced` are cumulative: all that the writer knew of, over all writers of the run. `level` is how a
    compaction encoded the parts, "" for a writer's own.
    """

    commits: CommitRange
    time_ns: int
    parts: tuple[PartEntry, ...] = ()
    fragments: tuple[FragmentRange, ...] = ()
    watermarks: Mapping[ProducerKey, Watermark] = field(default_factory=dict)
    fenced: frozenset[ProducerKey] = frozenset()
    level: str = ""

    def to_bytes(self) -> bytes:
        """The file's content."""
        parts = [
            {"table": p.table, "file": p.file, "rows": p.rows, "bytes": p.bytes, "digest": p.digest} for p in self.parts
        ]
        return (json.dumps(sealed(self._content({"parts": parts}))) + "\n").encode()

    def outline(self, rows: Mapping[str, int]) -> str:
        """What a part says of its whole commit, so that the marker can be made again: all but digests of parts.

        `rows` are those of each table that has some.
        """
        return json.dumps(sealed(self._content({"rows": dict(rows)})))

    def _content(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "writer": str(self.commits.writer),
            "first": self.commits.first,
            "last": self.commits.last,
            **({"again": self.commits.again} if self.commits.again else {}),
            **({"level": self.level} if self.level else {}),
            "time_ns": self.time_ns,
            **parts,
            "fragments": [list(f) for f in self.fragments],
            "watermarks": {str(key): _watermark_to_json(w) for key, w in sorted(self.watermarks.items())},
            "fenced": [str(key) for key in sorted(self.fenced)],
        }

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Marker:
        """The inverse of `to_bytes`; `name` is the file's name. Raises CorruptRecording, naming it."""
        return cls._read(data, name, lambda content: tuple(PartEntry(**part) for part in content["parts"]))

    @classmethod
    def from_outline(cls, text: bytes, name: str) -> tuple[Marker, dict[str, int]]:
        """The inverse of `outline`: a marker without parts, and the rows. Raises CorruptRecording."""
        rows: dict[str, int] = {}

        def none_of(content: dict[str, Any]) -> tuple[PartEntry, ...]:
            if seal_of(content) is not True:
                raise ValueError("its digest does not fit its content")
            rows.update({str(table): int(count) for table, count in content["rows"].items()})
            return ()

        return cls._read(text, name, none_of), rows

    @classmethod
    def _read(cls, data: bytes, name: str, parts_of: Callable[[dict[str, Any]], tuple[PartEntry, ...]]) -> Marker:
        try:
            content: dict[str, Any] = json.loads(data)
            if seal_of(content) is False:
                raise ValueError("its digest does not fit its content")
            writer = WriterId.parse(content["writer"])
            commits = CommitRange(writer, content["first"], content["last"], content.get("again", 0))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}, expected {FORMAT}")
            if commits.marker_name != name:
                raise ValueError(f"it says of itself that it is {commits.marker_name}")
            return cls(
                commits=commits,
                time_ns=int(content["time_ns"]),
                parts=parts_of(content),
                fragments=tuple(FragmentRange(*item) for item in content["fragments"]),
                watermarks={ProducerKey.parse(k): _watermark_of(w) for k, w in content["watermarks"].items()},
                fenced=frozenset(ProducerKey.parse(key) for key in content.get("fenced", ())),
                level=str(content.get("level", "")),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptRecording(f"The marker {name} cannot be read: {error!r}.") from error


def read_marker(run: RunFolder, commits: CommitRange, files: FileOps) -> Marker:
    """The marker of `commits`. Raises CorruptRecording where it is torn, FileNotFoundError where there is none."""
    return Marker.from_bytes(files.read(run.commits / commits.marker_name), commits.marker_name)


def newest_first(names: Iterable[str]) -> dict[WriterId, list[CommitRange]]:
    """The ranges of all markers among `names` by writer, the newest first, a larger range before a smaller."""
    by_writer: dict[WriterId, list[CommitRange]] = {}
    for name in names:
        commits = CommitRange.parse(name, MARKER_SUFFIX)
        if commits is not None:
            by_writer.setdefault(commits.writer, []).append(commits)
    for ranges in by_writer.values():
        ranges.sort(key=lambda r: (-r.last, r.first, -r.again))
    return by_writer


def read_newest(run: RunFolder, files: FileOps) -> tuple[list[str], list[Marker], list[CommitRange]]:
    """The names in `commits/`, the newest readable marker of each writer, and the unreadable ones above them.

    A compaction deletes what it has covered, the newest last: where one has vanished since it was listed, the list may
    lack the marker that covers it, and an older one would say too little. So all is listed again.
    """
    while True:
        names = files.names(run.commits)
        newest: list[Marker] = []
        unreadable: list[CommitRange] = []
        try:
            for ranges in newest_first(names).values():
                for commits in ranges:
                    try:
                        newest.append(read_marker(run, commits, files))
                        break
                    except CorruptRecording:
                        unreadable.append(commits)
        except FileNotFoundError:
            continue
        return names, newest, unreadable


def merged(watermarks: Iterable[Mapping[ProducerKey, Watermark]]) -> dict[ProducerKey, Watermark]:
    """For each key the furthest of several watermarks."""
    result: dict[ProducerKey, Watermark] = {}
    for one in watermarks:
        for key, mark in one.items():
            if key not in result or mark.sequence > result[key].sequence:
                result[key] = mark
    return result


def _watermark_to_json(mark: Watermark) -> dict[str, Any]:
    """Version, mismatches and skipped steps only where there are some: most markers are read far more often."""
    said: dict[str, Any] = {"sequence": mark.sequence, "steps": mark.steps, "episodes": mark.episodes}
    if mark.payload_version != PAYLOAD_VERSION_OF_SILENCE:
        said["payload_version"] = mark.payload_version
    if mark.mismatches:
        said["mismatches"] = [list(mismatch) for mismatch in mark.mismatches]
    if mark.skipped:
        said["skipped"] = mark.skipped
    return said


def _watermark_of(said: Mapping[str, Any]) -> Watermark:
    return Watermark(
        said["sequence"],
        said["steps"],
        said["episodes"],
        said.get("payload_version", PAYLOAD_VERSION_OF_SILENCE),
        tuple(Mismatch(*mismatch) for mismatch in said.get("mismatches", ())),
        said.get("skipped", 0),
    )
