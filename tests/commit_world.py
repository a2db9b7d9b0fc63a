"""A run of model producers and real `CommitLog`s on any disk, and the judge of what is found there.

The judge reads with plain pyarrow and names: a part counts when `commits/` has a marker of the same name. It knows what
was sent and what was acknowledged, nothing of how it was written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rolltape.schema.columns import TABLES
from rolltape.schema.config import CommitConfig
from rolltape.schema.errors import Fenced
from rolltape.schema.messages import ProducerKey
from rolltape.storage.commits import CommitLog, CommitReport
from rolltape.storage.files import FileOps
from rolltape.storage.layout import RunFolder
from rolltape.storage.sequences import Accepted, Duplicate, FencedKey, Refused
from tests.fragments import RUN_ID, Fragment, Producer

EPISODE_LENGTH = 3
KEPT = ("frames", "steps", "episodes")


class Crash(BaseException):
    """The process is killed here: nothing of it may run on, so no `except Exception` sees it."""


@dataclass
class Sender:
    """A producer with its window: what it made, and up to where that was acknowledged."""

    key: ProducerKey
    made: list[Fragment] = field(default_factory=list)
    acked: int = 0
    fenced: bool = False
    source: Producer | None = None

    def make(self, fragments: int = 1, steps_per_env: int = 2) -> None:
        assert self.source is not None
        self.made.extend(self.source.fragment(steps_per_env) for _ in range(fragments))

    def deliver(self, log: CommitLog, upto: int | None = None, begin: int | None = None) -> None:
        """Send from the first unacknowledged (or `begin`) to `upto` as a real window does: back to what is expected."""
        sequence = self.acked + 1 if begin is None else begin
        last = len(self.made) if upto is None else min(upto, len(self.made))
        while sequence <= last:
            fragment = self.made[sequence - 1]
            match log.offer(fragment.header, fragment.batches):
                case Accepted() | Duplicate(durable=False):
                    sequence += 1
                case Duplicate(durable=True):
                    self.acked = max(self.acked, sequence)
                    sequence += 1
                case Refused(expected=expected) if expected > self.acked:
                    assert expected < sequence
                    sequence = expected
                case Refused():  # it does not know what is acknowledged: only a writer that was replaced may be so
                    assert not log._files.exists(log.run.staging / log.writer_id)
                    return
                case FencedKey():
                    self.fenced = True
                    return


class World:
    """One run; `disk` is the truth, logs are opened on it or on something that wraps it."""

    def __init__(self, disk: FileOps, lake: Path = Path("/lake"), *, durability: str = "machine") -> None:
        self.disk = disk
        self.run = RunFolder(lake / "runs" / RUN_ID)
        self.config = CommitConfig.model_validate({"durability": durability})
        self.senders: dict[ProducerKey, Sender] = {}

    def copy(self, disk: FileOps) -> World:
        """The same producers as of now, on another disk."""
        other = World(disk)
        other.run, other.config = self.run, self.config
        other.senders = {k: replace(s, made=list(s.made), source=None) for k, s in self.senders.items()}
        return other

    def sender(self, number: int, incarnation: int = 0) -> Sender:
        """The producer of that number and life, new or known."""
        key = ProducerKey(number, incarnation)
        if key not in self.senders:
            self.senders[key] = Sender(key, source=Producer(number, incarnation, frames=64, length=EPISODE_LENGTH))
        return self.senders[key]

    def open(self, slot: int = 0, files: FileOps | None = None) -> CommitLog:
        return CommitLog.open(
            self.run, slot, self.config, files=files or self.disk, clock=lambda: 0.0, wall_ns=lambda: 1
        )

    def commit(self, log: CommitLog) -> CommitReport:
        """Commit what is pending and acknowledge it."""
        report = log.commit(log.take())
        for key, mark in report.watermarks.items():
            self.senders[key].acked = max(self.senders[key].acked, mark.sequence)
        return report

    def deliver_all(self, log: CommitLog) -> None:
        for sender in self.senders.values():
            sender.deliver(log)

    def finish(self) -> CommitLog:
        """A new writer, to which everybody sends what is not acknowledged; then all is as it should be."""
        log = self.open()
        self.deliver_all(log)
        self.commit(log)
        while log.held_bytes:  # a commit may take less than everything
            self.commit(log)
        self.check()
        for sender in self.senders.values():
            assert sender.fenced or sender.acked == len(sender.made)
        for table in TABLES:  # nothing lies about that a plain glob would take for data
            assert self.in_swap() or set(self.parts(table, marked=False)) == set(self.parts(table))
        return log

    # ---- the judge ----

    def markers(self) -> dict[str, dict]:
        """The content of all markers by the stem of their name."""
        found = {}
        for name in self.disk.names(self.run.commits) if self.disk.exists(self.run.commits) else []:
            found[name.removesuffix(".json")] = _json(self.disk.read(self.run.commits / name))
        return found

    def parts(self, table: str, *, marked: bool = True) -> list[str]:
        """Names of the parts that exist, or all that a glob finds."""
        folder = self.run.table(table)
        names = self.disk.names(folder) if self.disk.exists(folder) else []
        stems = set(self.markers())
        names = [n.removesuffix(".parquet") for n in names if n.endswith(".parquet")]
        exist = sorted(n for n in names if n in stems)
        kept = [n for n in exist if not any(_covers(other, n) for other in exist)]
        return [f"{n}.parquet" for n in (kept if marked else sorted(names))]

    def visible_markers(self) -> dict[str, dict]:
        """Those that lie inside no other."""
        markers = self.markers()
        return {stem: m for stem, m in markers.items() if not any(_covers(other, stem) for other in markers)}

    def in_swap(self) -> bool:
        """Whether a compaction is (or was killed) in its swap: a plain glob sees rows twice then."""
        visible = self.visible_markers()
        for table in TABLES:
            for name in self.parts(table, marked=False):
                stem = name.removesuffix(".parquet")
                _, first, last, *again = stem.split("-")
                if stem not in visible and (first != last or again or any(_covers(v, stem) for v in visible)):
                    return True
        return False

    def rows(self, table: str, *, marked: bool = True) -> list[tuple]:
        """All rows of a table, as tuples in the order of (worker, incarnation, fragment, sub_env, episode, t)."""
        found: list[tuple] = []
        for name in self.parts(table, marked=marked):
            found.extend(_rows_of_part(self.disk.read(self.run.table(table) / name)))
        return sorted(found)

    def check(self, *, glob: bool = True) -> None:
        """Every acknowledged fragment is found once, nothing twice, nothing in part, no episode without its steps.

        `glob` says whether that must hold too for somebody who does not look at markers.
        """
        self._check_markers()
        steps = self.rows("steps")
        found = {ProducerKey(*key[:2]): set() for key in steps} | {key: set() for key in self.senders}
        for row in steps:
            found[ProducerKey(*row[:2])].add(row[2])
        for key, sequences in found.items():
            assert sequences == set(range(1, len(sequences) + 1)), f"{key} has holes: {sequences}"
            assert len(sequences) >= self.senders[key].acked, f"{key}: acknowledged and lost"
        stored = [f for key, sequences in found.items() for f in self.senders[key].made[: len(sequences)]]
        for table in KEPT:
            assert self.rows(table) == sorted(row for f in stored for row in _rows_sent(f, table)), table
        glob = glob and not self.in_swap()
        for marked in (True, False) if glob else (True,):
            steps = Counter(row[3:5] for row in self.rows("steps", marked=marked))
            for episode in self.rows("episodes", marked=marked):
                assert steps[episode[3:5]] == EPISODE_LENGTH, "an episode came before its steps"

    def _check_markers(self) -> None:
        ranges: Counter[tuple[int, int, int]] = Counter()
        visible = self.visible_markers()
        for stem, marker in self.markers().items():
            again = f"-{marker['again']}" if "again" in marker else ""
            assert stem == f"{marker['writer']}-{marker['first']:08d}-{marker['last']:08d}{again}"
            if stem not in visible:
                continue  # it may be half deleted
            for part in marker["parts"]:
                data = self.disk.read(self.run.path / part["file"])
                assert (len(data), _digest(data)) == (part["bytes"], part["digest"])
            for producer, incarnation, first, last in marker["fragments"]:
                ranges.update((producer, incarnation, sequence) for sequence in range(first, last + 1))
        assert all(count == 1 for count in ranges.values()), "a fragment is in two commits"
        assert set(ranges) == {row[:3] for row in self.rows("steps")}


def fenced(call: object, *arguments: object) -> bool:
    """Whether a call ends with Fenced."""
    assert callable(call)
    try:
        call(*arguments)
    except Fenced:
        return True
    return False


def _covers(outer: str, inner: str) -> bool:
    """Whether the rules of docs/format.md make `outer` replace `inner`."""
    (writer, first, last, *again), (other, from_, to, *other_again) = outer.split("-"), inner.split("-")
    if writer != other or outer == inner or not int(first) <= int(from_) <= int(to) <= int(last):
        return False
    larger = int(last) - int(first) > int(to) - int(from_)
    return larger or int((again or ["0"])[0]) > int((other_again or ["0"])[0])


_json = lru_cache(maxsize=10_000)(json.loads)


@lru_cache(maxsize=10_000)
def _digest(data: bytes) -> str:
    return "sha256:" + sha256(data).hexdigest()


@lru_cache(maxsize=10_000)
def _rows_of_part(data: bytes) -> list[tuple]:
    return list(_rows(pq.read_table(pa.BufferReader(data))))


@lru_cache(maxsize=10_000)
def _rows_sent(fragment: Fragment, table: str) -> list[tuple]:
    return list(_rows(pa.Table.from_batches([fragment.batches[table]]))) if table in fragment.batches else []


def _rows(table: pa.Table) -> Iterator[tuple]:
    keys = ["worker", "incarnation", "fragment", "sub_env", "episode"]
    keys += ["t"] if "t" in table.column_names else []
    rest = [name for name in table.column_names if name not in keys]
    for row in table.select([*keys, *rest]).to_pylist():
        yield (*(row[k] for k in keys), repr([row[k] for k in rest]))
