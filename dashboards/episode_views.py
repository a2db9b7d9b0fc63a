"""One episode as the page shows it: its row, its steps, lines of them, its pictures, or what stands for them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rolltape.schema.columns import KEYS
from rolltape.schema.errors import LakeNotFound, RolltapeError
from rolltape.schema.render_payload import payload_to_json
from rolltape.storage.episodes import Episode
from rolltape.storage.lake import Lake

from .episode_lines import episode_lines
from .json_values import answer, json_table, json_value
from .lines import thinned
from .picture_blocks import picture_block
from .pngs import png
from .questions import OfEpisode, OfKind, OnePicture, Payloads, Pictures, Series, StepsPage, question

KEPT: Final = "private, max-age=600"
"""Of pictures of an episode that has ended: they do not change."""


class EpisodeViews:
    """Routes below `/runs/{run}/episodes/{episode}`."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def routes(self) -> list[Route]:
        """What is served."""
        base = "/runs/{run}/episodes/{episode}"
        return [
            Route(base, self.one),
            Route(f"{base}/steps", self.steps),
            Route(f"{base}/series", self.series),
            Route(f"{base}/frames", self.frames),
            Route(f"{base}/frame.png", self.frame),
            Route(f"{base}/pictures", self.pictures),
            Route(f"{base}/payloads", self.payloads),
        ]

    def _episode(self, asked: OfEpisode) -> Episode:
        return self._lake.run(asked.run).episode(asked.episode)

    def _steps(self, asked: OfEpisode) -> pa.Table:
        return self._lake.episode_rows.read(asked.run, "steps", asked.episode)

    def one(self, request: Request) -> Response:
        """Its row, its neighbours of the same sub-environment, what it looks like and how it is named."""
        asked = question(OfEpisode, request)
        episode = self._episode(asked)
        info = self._lake.run_info(asked.run)
        adapter = info.get("adapter") or {}
        stride = info.get("episode_stride")
        steps = self._steps(asked)
        t = steps.column("t").to_numpy() if len(steps) else np.empty(0, np.int32)
        content = {
            "row": {name: json_value(value) for name, value in episode.row.items()},
            "status": episode.status,
            "length": episode.length,
            "open": episode.is_open,
            "stride": stride,
            "env_id": info.get("env_id"),
            "fps": ((info.get("env") or {}).get("metadata") or {}).get("render_fps"),
            "action_names": adapter.get("action_names") or [],
            "observation_names": adapter.get("observation_names") or [],
            "kinds": list(((adapter.get("render") or {}).get("kinds") or {}).keys()),
            "policy": (info.get("frames") or {}).get("policy"),
            "gaps": _gaps(t, episode.length),
        }
        return answer(request, content)

    def steps(self, request: Request) -> Response:
        """Some of its steps, column by column."""
        asked = question(StepsPage, request)
        self._episode(asked)
        table = self._steps(asked)
        hidden = [column.name for column in KEYS if column.name in table.column_names]
        rows = table.slice(asked.first, asked.limit).drop_columns(hidden)
        kinds = {field.name: str(field.type) for field in rows.schema}
        return answer(request, {"total": len(table), "first": asked.first, "columns": json_table(rows), "types": kinds})

    def series(self, request: Request) -> Response:
        """All its numbers as lines over t, thinned to `points`."""
        asked = question(Series, request)
        self._episode(asked)
        table = self._steps(asked)
        adapter = self._lake.run_info(asked.run).get("adapter") or {}
        columns = episode_lines(table, adapter).values()
        lines = {name: values for column in columns for name, values in column.items()}
        t = table.column("t").to_numpy().astype(np.float64) if len(table) else np.empty(0)
        seconds = _seconds(table)
        at, (seconds, *thin) = thinned(t, [seconds, *lines.values()], asked.points)
        marks = _marks(table)
        named = {name: [json_value(v) for v in line.tolist()] for name, line in zip(lines, thin, strict=True)}
        since = [json_value(v) for v in seconds.tolist()]
        return answer(request, {"t": at.tolist(), "seconds": since, "lines": named, "rows": len(table), "marks": marks})

    def frames(self, request: Request) -> Response:
        """Which pictures there are: t of each, their kind, dtype and shape; or why there are none."""
        asked = question(OfKind, request)
        self._episode(asked)
        try:
            frames = self._lake.frames(asked.run, asked.episode, kind=asked.kind)
        except RolltapeError as error:
            return answer(request, {"t": [], "shape": None, "dtype": None, "why": str(error)})
        content = {"t": frames.t.tolist(), "shape": list(frames.shape[1:]), "dtype": frames.layout.dtype, "why": None}
        return answer(request, content)

    def frame(self, request: Request) -> Response:
        """One picture as PNG; with `nearest`, the newest at or before `t`, or else the first."""
        asked = question(OnePicture, request)
        t = asked.t
        if asked.nearest:
            ts = self._lake.frames(asked.run, asked.episode, kind=asked.kind).t
            t = int(ts[max(int(np.searchsorted(ts, t, "right")) - 1, 0)])
        picture = self._lake.frame(asked.run, asked.episode, t, kind=asked.kind)
        return Response(png(picture), headers={"cache-control": KEPT}, media_type="image/png")

    def pictures(self, request: Request) -> Response:
        """A block of pictures, each `<u32 t, u32 bytes>` and a PNG: those of t from `first` on, every `every`-th."""
        asked = question(Pictures, request)
        frames = self._lake.frames(asked.run, asked.episode, kind=asked.kind)
        body = picture_block(frames, asked.first, asked.count, asked.every)
        return Response(body, headers={"cache-control": KEPT}, media_type="application/octet-stream")

    def payloads(self, request: Request) -> Response:
        """Grids, graphs or texts before some steps; null where the environment's adapter knows of none."""
        asked = question(Payloads, request)
        episode = self._episode(asked)
        found: dict[str, Any] = {}
        for t in range(asked.first, min(asked.first + asked.count, episode.length + 1)):
            payload = self._lake.render_payload(asked.run, asked.episode, t)
            found[str(t)] = None if payload is None else payload_to_json(payload)
        if not found:
            raise LakeNotFound(f"Episode {asked.episode} has t from 0 to {episode.length} (got {asked.first}).")
        return answer(request, {"payloads": found})


def _gaps(t: np.ndarray, length: int) -> list[list[int]]:
    """Ranges of t, both ends inclusive, that are not recorded although the episode has them."""
    missing = np.setdiff1d(np.arange(length), t, assume_unique=True)
    if not len(missing):
        return []
    return [[int(part[0]), int(part[-1])] for part in np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)]


def _seconds(table: pa.Table) -> np.ndarray:
    """When each step returned, in seconds since the first one; NaN where that is not recorded."""
    times = table.column("time").cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64) / 1e6
    return times - times[0] if len(times) else times


def _marks(table: pa.Table) -> list[dict[str, Any]]:
    """Steps worth jumping to: where the reward is not the usual one, at most 200, the largest first."""
    if not len(table):
        return []
    t, reward = table.column("t").to_numpy(), table.column("reward").to_numpy(zero_copy_only=False)
    finite = reward[np.isfinite(reward)]
    values, counts = np.unique(finite, return_counts=True)
    usual = values[np.argmax(counts)] if len(values) and counts.max() * 2 >= len(reward) else 0.0
    odd = np.flatnonzero(reward != usual)
    if len(odd) > 200:
        odd = np.sort(odd[np.argsort(-np.abs(np.nan_to_num(reward[odd] - usual, nan=np.inf)), kind="stable")[:200]])
    if len(values) > 20:
        return []  # every step has a reward of its own: none stands out
    return [{"t": int(t[i]), "reward": json_value(float(reward[i]))} for i in odd.tolist()]
