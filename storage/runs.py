"""One run of a lake: its facts, rows, pictures and plots."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .ledger import Loss, read_losses
from .summaries import RunSummary, summarize
from .viewing import painter

if TYPE_CHECKING:
    from datetime import datetime

    from rolltape.schema.render_payload import RenderPayload
    from rolltape.schema.spaces import SpaceCodec

    from .episodes import Episode
    from .frame_store import Frames
    from .lake import Lake
    from .layout import RunFolder
    from .picture import Picture
    from .relation import Relation


class Run:
    """A recording: its facts, and its tables as relations. Made by `Lake.run`; holds nothing open.

    Attributes:
        lake: the lake that it lies in.
        run_id: its ULID.
    """

    def __init__(self, lake: Lake, run_id: str) -> None:
        self.lake = lake
        self.run_id = run_id

    # ---- facts ----------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> RunFolder:
        """Its paths."""
        return self.lake.listing.folder(self.run_id)

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.folder.path

    @property
    def summary(self) -> RunSummary:
        """What its small files say now."""
        return summarize(self.folder)

    @property
    def info(self) -> dict[str, Any]:
        """The content of `run.json`: environment, spaces, configuration, versions, host, seeds."""
        return dict(self.lake.run_info(self.run_id))

    @property
    def end(self) -> Mapping[str, Any] | None:
        """The content of `end.json`: how it ended; None while running and after a crash."""
        return self.summary.end

    @property
    def status(self) -> str:
        """Running, completed, stopped, failed or crashed, as one lower-case word."""
        return self.summary.status

    @property
    def env_id(self) -> str | None:
        """Id of its environment, as given."""
        return self.lake.run_info(self.run_id).get("env_id")

    @property
    def created(self) -> datetime:
        """UTC time of its creation."""
        return self.summary.created

    # ---- rows -----------------------------------------------------------------------------------------------------

    def episodes(self, where: str | None = None) -> Relation:
        """Its episodes that ended, in the order in which they were committed."""
        return self.lake.episodes(where, run=self)

    def steps(self, episode: int | None = None, *, where: str | None = None) -> Relation:
        """Its steps with all their columns; of one episode in the order of `t`."""
        return self.lake.steps(self, episode=episode, where=where)

    def resets(self, where: str | None = None) -> Relation:
        """Its resets: one row a moment at which sub-environments of a producer were reset, by the caller or not.

        Columns: time, worker, incarnation, sub_envs and episodes (lists of equal length), and reset_mask: of the
        worker's sub-environments in order, which were reset. Of episodes that are open or lost nothing is known yet.
        """
        from .relation import Relation, Select

        episodes = self.episodes("start_time IS NOT NULL AND status <> 'lost'")

        def text() -> str:
            return f"""
WITH known AS (
    SELECT *, min(sub_env) OVER of_worker AS first_env, max(sub_env) OVER of_worker AS last_env
    FROM ({episodes.sql}) WINDOW of_worker AS (PARTITION BY worker)
)
SELECT start_time AS time, worker, incarnation, list(sub_env ORDER BY sub_env) AS sub_envs,
    list(episode ORDER BY sub_env) AS episodes,
    list_transform(range(any_value(first_env)::BIGINT, any_value(last_env)::BIGINT + 1),
        lambda place: list_contains(list(sub_env), place)) AS reset_mask
FROM known GROUP BY ALL ORDER BY time, worker"""

        found = Relation(self.lake.engine, Select(text))
        return found if where is None else found.filter(where)

    def ledger(self, where: str | None = None) -> Relation:
        """What it lacks, a row a loss: table_name, cause, of_worker, rows (null: unknown), at_most, first_step, …"""
        return self.lake.ledger(where, run=self)

    def gaps(self) -> list[Loss]:
        """What it lacks, one object a loss, in the order in which they were declared; empty where nothing is missing.

        Live copies that nobody saw are not among them: the recording has those steps. `ledger` has them.

        Each prints as `steps of p0.0: 12 rows (killed), its steps 101 to 112`. Raises CorruptRecording.
        """
        return [loss for loss in read_losses(self.folder) if loss.stage != "unseen"]

    def normalization(self, where: str | None = None) -> Relation:
        """Running statistics of normalizing wrappers: mean, var and count after each reset (`moment = 'episode'`),
        after the first step of each fragment (`'fragment'`) and at the end (`'close'`); empty where there are none."""
        return self.lake.normalization(where, run=self)

    def control(self, where: str | None = None) -> Relation:
        """STARVED and RESUMED of those who watched it, each once: time, viewer, sub_env (the stream), number (within
        these two), transition."""
        return self.lake.control(where, run=self)

    def metrics(self, where: str | None = None) -> Relation:
        """Samples of its producers, hub and writer, about one a second: queue_depth, flush_s, inflight_bytes, …"""
        return self.lake.metrics(where, run=self)

    def logs(
        self,
        where: str | None = None,
        *,
        component: str | Sequence[str] | None = None,
        level: str | None = None,
    ) -> Relation:
        """Its log records and the lines of its external programs, in the order of time; see `Lake.logs`."""
        return self.lake.logs(where, run=self, component=component, level=level)

    def parts(self, table: str = "steps") -> list[Path]:
        """The exact list of its parts right now."""
        return [Path(path) for path in self.lake.listing.parts(self.run_id, table)]

    def episode(self, episode: int) -> Episode:
        """One episode by its number, ended or still open. Raises LakeNotFound where there is none."""
        from .episodes import Episode

        return Episode.find(self, episode)

    def codec(self, of: Literal["observation", "action"]) -> SpaceCodec:
        """What turns columns of that space into its values; from the descriptor in `run.json`."""
        from rolltape.schema.spaces import SpaceCodec  # Gymnasium takes a while to import

        return SpaceCodec(self.lake.run_info(self.run_id)["spaces"][of])

    # ---- pictures and values --------------------------------------------------------------------------------------

    def frame(self, episode: int, t: int, *, kind: str | None = None) -> Picture:
        """One picture: an array, which a notebook shows; see `Lake.frame`."""
        return self.lake.frame(self, episode, t, kind=kind)

    def frames(self, episode: int, *, kind: str | None = None) -> Frames:
        """The pictures of an episode in order; see `Lake.frames`."""
        return self.lake.frames(self, episode, kind=kind)

    def render_payload(self, episode: int, t: int) -> RenderPayload | None:
        """What stands for the look before step `t`; see `Lake.render_payload`."""
        return self.lake.render_payload(self, episode, t)

    def video(
        self,
        episode: int,
        path: str | os.PathLike[str],
        *,
        first: int = 0,
        last: int | None = None,
        fps: float | None = None,
        speed: float = 1.0,
        kind: str | None = None,
    ) -> Path:
        """Write pictures of an episode as a film.

        Args:
            episode: number of the episode.
            path: the file; its suffix says what it becomes: `.gif`, `.mp4`, `.webm`, `.mkv`. Replaced where it exists.
            first, last: the range of `t`, both among them; last None: to the end.
            fps: steps a second at speed 1; None: what the environment says, or 30.
            speed: 2.0 shows it in half the time.
            kind: "observation" or "render"; None for whichever there is, observations first.

        Raises:
            LakeNotFound: there are no such pictures.
            MissingExtra: Pillow (for GIF) or PyAV is not installed.
            ConfigError: the suffix is unknown, or fps or speed is not above 0.
            ReplayFailed: of a run with frames="replay", the replay differs from the recording, or cannot be.
        """
        from .film import FPS, check_film, write_film

        info = self.info
        steps_per_s = fps if fps is not None else (info["env"].get("metadata") or {}).get("render_fps") or FPS
        check_film(path, steps_per_s * speed)
        frames = self.frames(episode, kind=kind)
        frames = frames.between(first, int(frames.t[-1]) if last is None else last)
        between = float(frames.t[1] - frames.t[0]) if len(frames) > 1 else 1.0  # render:K keeps every K-th
        write_film(path, frames, steps_per_s * speed / between)
        return Path(path)

    def plot(self, what: str = "return", *, episode: int | None = None, backend: str | None = None) -> Any:
        """A plot, which a notebook shows: of its episodes in the order in which they ended, or of one over its steps.

        Args:
            what: without `episode` a number of the episodes ("return", "length"), of the completed ones; with it
                "reward", "return so far", a column ("action", "observation", "info") or one of its elements.
            episode: number of the episode; None for all of them.
            backend: "altair" or "matplotlib", which have to be installed, or "svg", which needs nothing; None: the
                first of them that is there.

        Returns:
            An `altair.Chart`, a `matplotlib.figure.Figure`, or a `LinePlot` with `.svg`, its text, and `.save(path)`.

        Raises:
            ConfigError: there is no such number or backend; the message says which there are.
            LakeNotFound: there is no such episode.
            MissingExtra: that backend is not installed.
        """
        return painter().plot(self, what, episode, backend)

    def live(self, *, tiles: int = 16, size: int = 160, hz: float | None = None) -> Any:
        """A notebook's widget that shows its streams while it is recorded, also while a cell is busy.

        Args:
            tiles: how many streams at most, 1 to 64.
            size: longer side of a picture, in pixels, 16 to 1024.
            hz: pictures a second of each stream, 0.2 to 60; None: as configured (`ui_controls.view_hz`).

        Raises:
            LakeNotFound: nobody serves it live; the message says why.
            MissingExtra: `rolltape[notebook]` is not installed.
            ConfigError: a number is out of its range.
        """
        return painter().live(self, tiles, size, hz)

    def replay(self, episode: int, *, kind: str | None = None) -> Any:
        """A notebook's widget that plays a recorded episode. It needs no server: the kernel sends what is asked for.

        Args:
            episode: number of the episode.
            kind: "observation" or "render"; None for whichever there is, observations first. Without pictures it draws
                what stands for them (`render_payload`), where the environment's adapter knows.

        Raises:
            LakeNotFound: there is no such episode.
            MissingExtra: `rolltape[notebook]` is not installed.
        """
        return painter().replay(self, episode, kind)

    def observations(self, episode: int) -> Any:
        """The observations of an episode, the final one included; see `Episode.observations`."""
        return self.episode(episode).observations

    def __repr__(self) -> str:
        summary = self.summary
        return f"<Run {self.run_id} {summary.row()['env_id']} {summary.status}, {summary.steps:,} steps>"

    def _repr_html_(self) -> str:
        return painter().run_html(self)
