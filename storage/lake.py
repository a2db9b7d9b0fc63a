"""What a notebook reads: a lake, its runs, their episodes, steps and pictures. Read-only; a run may be going on.

`rt.open("lake")` gives a `Lake`. Everything that has rows is a `Relation`: lazy, and read anew each time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import ConfigError, CorruptRecording, LakeNotFound, UnreadableNow
from rolltape.schema.render_payload import RenderPayload

from .adoption import AdoptionTables
from .drawn_frames import DrawnFrames, Renderer
from .episode_rows import EpisodeRows
from .episodes import Episode
from .frame_store import Frames, FrameStore
from .layout import is_run_id, list_parts
from .listing import LakeListing
from .log_filter import log_condition
from .part_table import PartTable
from .picture import Picture
from .queries import Engine, Rows, common_columns, scan
from .relation import Relation, Select
from .run_info import read_run_info
from .runs import Run
from .runs_table import RunsTable
from .stored_schemas import StoredSchema, StoredSchemas
from .viewing import painter
from .which_run import WhichRun, resolved

__all__ = ["Episode", "Lake", "Relation", "Run", "open_lake", "parts"]


def open_lake(
    path: str | os.PathLike[str] = "lake",
    *,
    threads: int | None = None,
    memory: str | None = None,
    renderer: Renderer | None = None,
) -> Lake:
    """Open a lake for reading, also while runs are being written into it. Nothing is created or locked.

    Args:
        path: the lake's folder.
        threads: threads of its queries; None for one a core.
        memory: memory limit of its queries such as "2GB"; None for 80 % of the machine.
        renderer: draws the pictures of runs that store none (frames="replay"); None: those have no pictures.

    Raises:
        LakeNotFound: there is no lake at `path`.
    """
    return Lake(path, threads=threads, memory=memory, renderer=renderer)


def parts(lake: Lake | str | os.PathLike[str], run: WhichRun | None = None, table: str = "steps") -> list[Path]:
    """The exact list of part files right now, for any other tool that reads Parquet.

    Args:
        lake: a lake or its folder.
        run: which run; None for all.
        table: steps, frames, episodes, logs, control, ledger, normalization or metrics.

    Raises:
        LakeNotFound: no such lake or run.
        ConfigError: no such table.
    """
    _check_table(table)
    with opened(lake) as found:
        run_ids = found.listing.run_ids() if run is None else [found.resolve(run)]
        return [part for run_id in run_ids for part in list_parts(found.listing.folder(run_id), table)]


@contextmanager
def opened(lake: Lake | str | os.PathLike[str]) -> Iterator[Lake]:
    """A lake as it is, or one opened for the block alone. Raises LakeNotFound."""
    if isinstance(lake, Lake):
        yield lake
    else:
        with Lake(lake, threads=1) as found:
            yield found


class Lake:
    """A folder of recordings, open for reading until `close()`, or the end of a `with` block, or for ever: nothing is
    locked, and DuckDB's idle threads are all that an open one costs.

    Attributes:
        path: the folder, absolute.
        listing: which parts exist.
        engine: what runs the queries of its relations.
        frame_store: what finds and decodes pictures.
        renderer: what draws the pictures of runs that store none; None: nothing does.
        episode_rows: what finds the rows of single episodes.
        runs_table, part_table: the rows of `runs` and `parts`, remembering what does not change.
        adoption_tables: the rows of `payloads`, `mismatches` and `adoption`.
        derived_tables: what gives the rows of the tables of SQL that are not recorded, by their names.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = "lake",
        *,
        threads: int | None = None,
        memory: str | None = None,
        renderer: Renderer | None = None,
    ) -> None:
        self.path = Path(path).absolute()
        if not (self.path / "runs").is_dir():
            raise LakeNotFound(_no_lake(self.path))
        self._settings = (threads, memory, renderer)
        self.renderer = renderer
        self.listing = LakeListing(self.path)
        self.episode_rows = EpisodeRows(self.listing)
        self.runs_table = RunsTable(self)
        self.part_table = PartTable(self.listing)
        self._info: dict[str, dict[str, Any]] = {}
        self._schemas = StoredSchemas(self.listing)
        self.adoption_tables = AdoptionTables(self)
        self.derived_tables: Mapping[str, Callable[[], Rows]] = {
            "runs": self.runs_table.rows,
            "parts": self.part_table.rows,
            "payloads": self.adoption_tables.payloads,
            "mismatches": self.adoption_tables.mismatches,
            "adoption": self.adoption_tables.adoption,
        }
        self.frame_store = FrameStore(self.listing, self.run_info)
        self.engine = Engine(self.listing, self.derived_tables, threads=threads, memory=memory)

    # ---- runs -----------------------------------------------------------------------------------------------------

    def runs(self, where: str | None = None) -> Relation:
        """All runs, newest last: run_id, env_id, created, status, steps, episodes, mean_return, bytes, seed, …"""

        def text() -> str:
            self.engine.refresh(["runs"])
            return "SELECT * FROM runs ORDER BY run_id"

        return _where(Relation(self.engine, Select(text)), where)

    def adoption(self) -> Relation:
        """Which payload versions producers speak: one row a version with its runs, steps, their shares (0 to 1),
        episodes and mismatches. A run in which several versions were spoken counts for each."""
        return self._of_markers("adoption", "payload_version")

    def mismatches(self, where: str | None = None) -> Relation:
        """What did not fit: run_id, payload_version, code, field and count; no row where nothing was wrong."""
        return _where(self._of_markers("mismatches", "run_id, payload_version, code, field"), where)

    def _of_markers(self, table: str, order: str) -> Relation:
        def text() -> str:
            self.engine.refresh([table])
            return f"SELECT * FROM {table} ORDER BY {order}"

        return Relation(self.engine, Select(text))

    def run(self, run: WhichRun = "latest") -> Run:
        """One run.

        Args:
            run: a run id, the beginning of one, "latest", or anything with a `run_id`.

        Raises:
            LakeNotFound: none fits, or several do; the message lists them.
        """
        return Run(self, self.resolve(run))

    def resolve(self, run: WhichRun) -> str:
        """The run id that is meant; see `run`."""
        return resolved(self.listing, run)

    # ---- rows -----------------------------------------------------------------------------------------------------

    def episodes(self, where: str | None = None, *, run: WhichRun | Sequence[WhichRun] | None = None) -> Relation:
        """Episodes that ended, in the order of runs and commits.

        Args:
            where: an SQL condition such as "return > 100 and status = 'completed'".
            run: one run or a list of runs; None for all. With one, `final_observation` is there too.
        """
        return _where(self._table("episodes", run), where)

    def steps(
        self,
        run: WhichRun | Sequence[WhichRun] | None = None,
        *,
        episode: int | None = None,
        where: str | None = None,
    ) -> Relation:
        """Steps, in the order of runs and commits; those of one episode in the order of `t`.

        Args:
            run: one run, with all its columns; or a list of runs, or None for all, with the columns whose types
                are the same in every run (runs of a list that have the same columns keep them all).
            episode: only this one; needs `run`.
            where: an SQL condition such as "reward <> 0 and t < 100".
        """
        if episode is None:
            return _where(self._table("steps", run), where)
        if run is None or isinstance(run, list | tuple):
            raise ConfigError("episode: numbers are unique in a run, so say which run too")
        run_id, number = self.resolve(run), int(episode)

        def some() -> str:
            parts = self.episode_rows.parts(run_id, "steps", number)
            return self._schemas.select("steps", [run_id], parts)

        steps = Relation(self.engine, Select(some), fields=lambda: self._schemas.fields("steps", [run_id]))
        return _where(steps.filter(f"episode = {number}").order("t"), where)

    def ledger(self, where: str | None = None, *, run: WhichRun | Sequence[WhichRun] | None = None) -> Relation:
        """What recordings lack, a row a loss, in the order of runs and commits; one run, a list of runs, or all."""
        return _where(self._table("ledger", run), where)

    def normalization(self, where: str | None = None, *, run: WhichRun | Sequence[WhichRun] | None = None) -> Relation:
        """Running statistics of normalizing wrappers: mean, var and count after each reset, in each fragment, at the
        end; one run, a list of runs, or all."""
        return _where(self._table("normalization", run), where)

    def control(self, where: str | None = None, *, run: WhichRun | Sequence[WhichRun] | None = None) -> Relation:
        """STARVED and RESUMED of those who watched, each once; one run, a list of runs, or all."""
        return _where(self._table("control", run), where)

    def metrics(self, where: str | None = None, *, run: WhichRun | Sequence[WhichRun] | None = None) -> Relation:
        """Samples of producers, hubs and writers, about one a second each; one run, a list of runs, or all."""
        return _where(self._table("metrics", run), where)

    def logs(
        self,
        where: str | None = None,
        *,
        run: WhichRun | Sequence[WhichRun] | None = None,
        component: str | Sequence[str] | None = None,
        level: str | None = None,
    ) -> Relation:
        """Log records and the lines of external programs, in the order of time.

        Args:
            where: an SQL condition such as "code = 'LOG2002' and worker = 3".
            run: one run or a list of runs; None for all.
            component: only what these components say; one of the catalogue, or several.
            level: only what is at least so severe: debug, info, warning or error.

        Raises:
            ConfigError: a component or level that is not in the catalogue (docs/log-codes.md).
        """
        found = _where(self._table("logs", run), where)
        if (condition := log_condition(component, level)) is not None:
            found = found.filter(condition)
        return found.order("time")

    def sql(self, query: str, params: Sequence[Any] = ()) -> Relation:
        """An SQL query over `runs`, `episodes`, `steps`, `frames` (without their bytes), `logs`, `ledger`,
        `normalization`, `control`, `metrics`, `parts`, `payloads`, `mismatches` and `adoption`.

        Args:
            query: one statement that reads, in DuckDB's dialect; `?` stands for a value of `params`.
            params: the values.
        """
        return Relation(self.engine, Select(lambda: self.engine.prepare(query)), params=tuple(params))

    def _table(self, table: str, run: WhichRun | Sequence[WhichRun] | None) -> Relation:
        runs_folder = self.path / "runs"
        if run is None:

            def whole() -> str:
                return scan(self.listing.all_parts(table), common_columns(table), runs_folder)

            return Relation(self.engine, Select(whole))
        several = run if isinstance(run, list | tuple) else [run]
        run_ids = [self.resolve(one) for one in several]
        for run_id in run_ids:
            self._check_format(run_id)

        def some() -> str:
            return self._schemas.select(table, run_ids, self.listing.all_parts(table, run_ids))

        return Relation(self.engine, Select(some), fields=lambda: self._schemas.fields(table, run_ids))

    def _check_format(self, run_id: str) -> None:
        """Raise UnsupportedFormat: what a newer format's columns mean, nobody here knows."""
        try:
            self.run_info(run_id)
        except (CorruptRecording, UnreadableNow):
            pass  # rows can be read without it

    def stored_schema(self, run_id: str, table: str) -> StoredSchema | None:
        """The columns of a run's table as its parts carry them; None before its first commit."""
        return self._schemas.of(run_id, table)

    # ---- pictures -------------------------------------------------------------------------------------------------

    def frame(self, run: WhichRun, episode: int, t: int, *, kind: str | None = None) -> Picture:
        """One picture, (H, W, C) or as the environment gave it: an array, which a notebook shows.

        Args:
            run: which run.
            episode: number of the episode.
            t: the picture was seen before step `t`; `t` = length is the last.
            kind: "observation" or "render"; None for whichever is recorded, observations first.

        Raises:
            LakeNotFound: there is no such picture; the message says which there are.
            ReplayFailed: of a run with frames="replay", the replay differs from the recording, or cannot be.
        """
        run_id = self.resolve(run)
        if (renderer := self._renderer_of(run_id)) is not None:
            return Picture.of(renderer.picture(Run(self, run_id), int(episode), int(t), kind))
        return Picture.of(self.frame_store.one(run_id, episode, t, kind=kind))

    def frames(self, run: WhichRun, episode: int, *, kind: str | None = None) -> Frames:
        """The pictures of an episode in order: iterate, index, or take all with `.array()`."""
        run_id = self.resolve(run)
        if (renderer := self._renderer_of(run_id)) is not None:
            return DrawnFrames(renderer, Run(self, run_id), int(episode), kind)
        return self.frame_store.episode(run_id, episode, kind=kind)

    def render_payload(self, run: WhichRun, episode: int, t: int) -> RenderPayload | None:
        """What stands for the look of an episode before step `t`: a grid, a graph, text, or the frame that shows it.

        From the recorded state where there is one (`adapter={"state": True}`), otherwise by replaying the episode up to
        there. The environment is made again for it.

        Args:
            run: which run.
            episode: number of the episode.
            t: before step `t`; `t` = length is after the last.

        Returns:
            None where the environment's adapter knows of no payload.

        Raises:
            LakeNotFound: there is no such episode or t, or the lake was not opened with `rolltape.open`.
            ReplayFailed: the replay differs from the recording, or cannot be.
            AdapterError: the adapter that it was recorded with is not here.
        """
        run_id = self.resolve(run)
        if self.renderer is None:
            raise LakeNotFound(
                f"Payloads of run {run_id} are made from its environment: open the lake with rolltape.open."
            )
        return self.renderer.payload(Run(self, run_id), int(episode), int(t))

    def _renderer_of(self, run_id: str) -> Renderer | None:
        """What draws the pictures of a run, where they are not stored."""
        if (self.run_info(run_id).get("frames") or {}).get("policy") != "replay":
            return None
        if self.renderer is None:
            raise LakeNotFound(
                f"Run {run_id} stores no pictures (frames=replay), they are drawn again: open the lake with "
                "rolltape.open."
            )
        return self.renderer

    # ---- files ----------------------------------------------------------------------------------------------------

    def parts(self, run: WhichRun | None = None, table: str = "steps") -> list[Path]:
        """The exact list of part files right now; see `rolltape.parts`."""
        return parts(self, run, table)

    def run_info(self, run_id: str) -> dict[str, Any]:
        """The content of a run's `run.json`, which does not change."""
        info = self._info.get(run_id)
        if info is None:
            info = read_run_info(self.listing.folder(run_id))
            if info.get("spaces") is not None or "program" not in info:  # a program's run learns its spaces later
                self._info[run_id] = info
        return info

    # ---- its end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End DuckDB's threads, and close the environments that drew pictures; to be called after the last query.

        A result that is still being read ends with duckdb.Error, and what is queried later raises StorageError.
        Closing twice is once. `parts` and pictures that are stored need no DuckDB and can be read still.
        """
        self.engine.close()
        if self.renderer is not None:
            self.renderer.close()

    def __enter__(self) -> Lake:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path, *self._settings)  # another process (a Ray task) opens its own

    def __repr__(self) -> str:
        run_ids = self.listing.run_ids()
        newest = f", newest {run_ids[-1]}" if run_ids else ""
        return f"<Lake {self.path}, {len(run_ids)} runs{newest}>"

    def _repr_html_(self) -> str:
        return painter().lake_html(self)


def _reopened(path: Path, threads: int | None, memory: str | None, renderer: Renderer | None = None) -> Lake:
    return Lake(path, threads=threads, memory=memory, renderer=renderer)


def _where(relation: Relation, condition: str | None) -> Relation:
    return relation if condition is None else relation.filter(condition)


def _check_table(table: str) -> None:
    if table not in TABLES:
        raise ConfigError(f"table: expected one of {', '.join(TABLES)}, got {table!r}")


def _no_lake(path: Path) -> str:
    if path.parent.name == "runs" and is_run_id(path.name):
        return f"{path} is a run; open its lake {path.parent.parent} and ask for the run."
    found = sorted(p.parent for p in path.glob("*/runs")) if path.is_dir() else []
    if found:
        return f"No lake at {path}, but at {', '.join(map(str, found[:3]))}. Open that one."
    if path.is_file():
        return f"No lake at {path}: it is a file. Give the folder that was recorded into."
    what = "the folder has no runs/ in it" if path.is_dir() else "there is no such folder"
    return (
        f"No lake at {path}: {what}. Give the folder that was recorded into, or record something: "
        f"`rolltape record CartPole-v1 --steps 10000 --lake {path}`."
    )
