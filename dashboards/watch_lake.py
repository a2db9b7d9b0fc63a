"""Watching a run by what is committed of it: also one that is being written, without Ray, on any machine.

Each look reads the parts that came since the last one. A compaction gives rows again under another name; episodes are
known by their numbers, and steps by how far they went, so that none counts twice.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rolltape.actors.progress import RateMeter
from rolltape.schema.errors import CorruptRecording, UnreadableNow
from rolltape.storage.ledger import read_losses
from rolltape.storage.log_tail import LogTail
from rolltape.storage.queries import common_columns, scan
from rolltape.storage.relation import Relation, Select
from rolltape.storage.summaries import newest_markers

from .watched import LogLine, Snapshot, StreamRow, printable

if TYPE_CHECKING:
    from rolltape.storage.runs import Run

RETURNS: Final = 200
LINES: Final = 50
AT_FIRST: Final = 4
"""Parts of steps that the first look reads: the newest of a long run say where it is."""
IDLE_S: Final = 10.0


@dataclass(slots=True)
class _Stream:
    episode: int
    t: int
    total: float | None
    rate: float | None
    at: datetime | None


class LakeWatch:
    """Looks at a run again and again.

    Args:
        run: what is watched.
        clock: seconds, for rates.
        now: UTC time.
    """

    def __init__(
        self,
        run: Run,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._run, self._now, self._clock = run, now, clock
        self._meter = RateMeter(clock=clock)
        self._seen: set[str] = set()
        self._began = False
        self._streams: dict[tuple[int, str], _Stream] = {}
        self._returns: OrderedDict[int, float] = OrderedDict()
        self._tail = LogTail(run)
        self._lines: deque[LogLine] = deque(maxlen=LINES)
        self._lost = 0

    def look(self, streams: int = 64, lines: int = 8, note: str = "") -> Snapshot:
        """The run now, with at most so many streams and log lines. Raises LakeNotFound when it is gone."""
        run, summary = self._run, self._run.summary
        is_first = not self._began
        self._read()
        marks = {key: mark for marker in newest_markers(run.folder) for key, mark in marker.watermarks.items()}
        newest = max((s.at for s in self._streams.values() if s.at is not None), default=None)
        running = summary.status == "running"
        rate = self._meter.rate(summary.steps)
        rows = [self._row(name, stream, running) for name, stream in sorted(self._streams.items())]
        return Snapshot(
            run_id=run.run_id,
            env_id=printable(str(summary.info.get("env_id") or "?")),
            status=summary.status,
            source="lake",
            note=note,
            steps=summary.steps,
            episodes=sum(mark.episodes for mark in marks.values()),
            steps_per_s=rate if running and not is_first else None,  # one look alone knows no rate
            lag_s=max(0.0, (self._now() - newest).total_seconds()) if running and newest is not None else None,
            lost=self._lost,
            settled=summary.end is not None or summary.status != "crashed",
            streams=rows[:streams],
            more_streams=max(0, len(rows) - streams),
            returns=list(self._returns.values()),
            logs=list(self._lines)[-lines:] if lines else (),
        )

    def _row(self, name: tuple[int, str], stream: _Stream, running: bool) -> StreamRow:
        fresh = stream.at is not None and (self._now() - stream.at).total_seconds() < IDLE_S
        state = "ended" if not running else "live" if fresh else "idle"
        rate = stream.rate if state == "live" else None
        return StreamRow(f"{name[0]}/{name[1]}", state, stream.episode, stream.t, stream.total, rate)

    def _read(self) -> None:
        tables = self._run.lake.listing.tables(self._run.run_id)
        for table, take in (("steps", self._take_steps), ("episodes", self._take_episodes)):
            fresh = [part for part in tables.get(table, ()) if part not in self._seen]
            self._seen.update(fresh)
            if table == "steps" and not self._began:
                fresh = fresh[-AT_FIRST:]
            if fresh:
                take(fresh)
        fresh_losses = [part for part in tables.get("ledger", ()) if part not in self._seen]
        if fresh_losses:
            self._seen.update(fresh_losses)
            try:
                losses = [loss for loss in read_losses(self._run.folder) if loss.stage == "lost"]
                self._lost = sum(loss.rows or loss.at_most or 0 for loss in losses if loss.table == "steps")
            except (CorruptRecording, UnreadableNow):  # `rolltape verify` names it; who watches is shown the rest
                pass
        for row in self._tail.new():
            self._lines.append(LogLine(row["time"], row["level"], row["component"], printable(row["message"])))
        self._began = True

    def _query(self, table: str, parts: list[str], text: str) -> list[dict[str, Any]]:
        lake = self._run.lake
        source = Select(lambda: text.format(rows=scan(tuple(parts), common_columns(table), lake.path / "runs")))
        return Relation(lake.engine, source).to_dicts()

    def _take_steps(self, parts: list[str]) -> None:
        pieces = self._query(
            "steps",
            parts,
            """SELECT sub_env, agent_id, episode, min(t) AS first, max(t) AS last, sum(reward) AS total, count(*) AS n,
                min(time) AS since, max(time) AS until FROM ({rows}) GROUP BY ALL ORDER BY ALL""",
        )
        for piece in pieces:
            name = piece["sub_env"], piece["agent_id"]
            known = self._streams.get(name)
            spent = (piece["until"] - piece["since"]).total_seconds() if piece["until"] else 0.0
            rate = (piece["n"] - 1) / spent if spent > 0 else known.rate if known else None
            if known is None or piece["episode"] > known.episode:
                total = piece["total"] if piece["first"] == 0 else None
                self._streams[name] = _Stream(piece["episode"], piece["last"], total, rate, piece["until"])
            elif piece["episode"] == known.episode and piece["last"] > known.t:
                follows = known.total is not None and piece["first"] == known.t + 1
                known.total = known.total + piece["total"] if follows and known.total is not None else None
                known.t, known.rate, known.at = piece["last"], rate, piece["until"]

    def _take_episodes(self, parts: list[str]) -> None:
        ended = self._query(
            "episodes",
            parts,
            f"""SELECT episode, "return" AS total FROM ({{rows}}) WHERE status = 'completed' AND "return" IS NOT NULL
                ORDER BY end_time DESC LIMIT {RETURNS}""",
        )
        for row in reversed(ended):
            if row["episode"] not in self._returns:
                self._returns[row["episode"]] = row["total"]
        while len(self._returns) > RETURNS:
            self._returns.popitem(last=False)
