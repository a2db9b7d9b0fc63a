"""The history of a lake as JSON: runs, episodes, losses, settings, schemas, health. Read-only.

Tables are sent as columns (half the bytes of rows, a third of the time to read them). Every error has the form
`{"error": what, "message": for a person}`: 422 a parameter, 404 there is none, 409 it is there and cannot be read.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import psutil
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rolltape.schema.causes import CAUSES
from rolltape.schema.columns import TABLES
from rolltape.schema.config_provenance import LEGEND
from rolltape.schema.config_tree import Config
from rolltape.schema.errors import ConfigError, CorruptRecording, LakeNotFound, RolltapeError
from rolltape.storage.lake import Lake, Run

from .episode_views import EpisodeViews
from .json_values import answer, json_table, json_value
from .lines import smoothed, thinned
from .live_address import live_page
from .logs import LogView
from .questions import EpisodesPage, Metrics, OfRun, Page, Question, Returns, question

SPARKS: Final = 24
MOST_RUNS: Final = 5000
SERVED: Final = ("run_id", "env_id", "created", "status", "steps", "episodes", "mean_return", "bytes", "seed", "frames")
SPARKS_OF: Final = f"""
    SELECT run_id, bucket, avg("return") AS mean, max("return") AS best, arg_max("return", place) AS last FROM (
        SELECT run_id, "return", row_number() OVER run AS place,
            (row_number() OVER run - 1) * {SPARKS} // count(*) OVER (PARTITION BY run_id) AS bucket
        FROM episodes WHERE status = 'completed' AND "return" IS NOT NULL
        WINDOW run AS (PARTITION BY run_id ORDER BY end_time, episode))
    GROUP BY run_id, bucket ORDER BY run_id, bucket"""


class History:
    """Routes of the history.

    Args:
        lake: what is shown.
        has_live: whether a gateway serves live streams beside it.
    """

    def __init__(self, lake: Lake, *, has_live: bool = False) -> None:
        self._lake = lake
        self._has_live = has_live
        self._since = time.time()

    def routes(self) -> list[Route]:
        """What is served below `api/`."""
        of_run = "/runs/{run}"
        found = [
            Route("/health", self.health),
            Route("/runs", self.runs),
            Route("/sparks", self.sparks),
            Route("/schemas", self.schemas),
            Route("/settings/schema", self.settings_schema),
            Route(of_run, self.run),
            Route(f"{of_run}/returns", self.returns),
            Route(f"{of_run}/episodes", self.episodes),
            Route(f"{of_run}/ledger", self.ledger),
            Route(f"{of_run}/metrics", self.metrics),
            Route(f"{of_run}/settings", self.settings),
            Route(f"{of_run}/schema", self.schema),
            *LogView(self._lake).routes(),
            *EpisodeViews(self._lake).routes(),
        ]
        return [Route(route.path, _careful(route.endpoint), methods=["GET"]) for route in found]

    # ---- the lake -------------------------------------------------------------------------------------------------

    def health(self, request: Request) -> Response:
        """Versions, memory, room on the disk, and whether there are live streams."""
        question(Question, request)
        disk = shutil.disk_usage(self._lake.path)
        process = psutil.Process()
        content = {
            "version": importlib.metadata.version("rolltape"),
            "python": sys.version.split()[0],
            "pid": os.getpid(),
            "host": os.uname().nodename,
            "lake": str(self._lake.path),
            "runs": len(self._lake.listing.run_ids()),
            "uptime_s": time.time() - self._since,
            "memory_bytes": process.memory_info().rss,
            "cpu_s": sum(process.cpu_times()[:2]),
            "disk_free_bytes": disk.free,
            "disk_total_bytes": disk.total,
            "live": self._has_live,
            "now": time.time() * 1000,
        }
        return answer(request, content)

    def runs(self, request: Request) -> Response:
        """All runs, newest first, at most 5,000 of them."""
        question(Question, request)
        table = self._lake.runs().to_arrow().select(list(SERVED))
        total = len(table)
        table = table.take(np.arange(total - 1, max(total - MOST_RUNS, 0) - 1, -1)) if total else table
        return answer(request, {"total": total, "columns": json_table(table)})

    def sparks(self, request: Request) -> Response:
        """Of each run: how returns went, in 24 stretches, the best and the last."""
        question(Question, request)
        found: dict[str, dict[str, Any]] = {}
        for run_id, _, mean, best, last in self._lake.sql(SPARKS_OF).fetchall():
            run = found.setdefault(run_id, {"means": [], "best": best, "last": last})
            run["means"].append(json_value(mean))
            run["best"], run["last"] = max(run["best"], best), last
        return answer(request, {run_id: {k: json_value(v) for k, v in run.items()} for run_id, run in found.items()})

    def schemas(self, request: Request) -> Response:
        """Which payload versions producers speak, by run and in all; what did not fit; rows and bytes by table."""
        question(Question, request)
        tables = """SELECT table_name, sum(rows)::BIGINT AS rows, sum(bytes)::BIGINT AS bytes, count(*) AS parts,
            count(DISTINCT run_id) AS runs FROM parts GROUP BY 1 ORDER BY 1"""
        content = {
            "adoption": json_table(self._lake.adoption().to_arrow()),
            "payloads": json_table(self._lake.sql("SELECT * FROM payloads ORDER BY run_id DESC").to_arrow()),
            "mismatches": json_table(self._lake.mismatches().to_arrow()),
            "tables": json_table(self._lake.sql(tables).to_arrow()),
            "meanings": {
                table: [[c.name, "of the space" if c.type is None else str(c.type), c.unit, c.meaning] for c in columns]
                for table, columns in TABLES.items()
            },
        }
        return answer(request, content)

    def settings_schema(self, request: Request) -> Response:
        """The JSON Schema of all settings, and what their sources are called."""
        question(Question, request)
        schema = json.loads(json.dumps(Config.model_json_schema(), default=str))
        return answer(request, {"schema": schema, "legend": LEGEND})

    # ---- a run ----------------------------------------------------------------------------------------------------

    def run(self, request: Request) -> Response:
        """What a run is, how it goes or ended, and what it lacks."""
        run = self._lake.run(question(OfRun, request).run)
        summary, info = run.summary, run.info
        adapter = info.get("adapter") or {}
        parts = """SELECT table_name, sum(rows)::BIGINT AS rows, sum(bytes)::BIGINT AS bytes, count(*) AS parts
            FROM parts WHERE run_id = ? GROUP BY 1"""
        losses = [
            {"text": str(loss), "stage": loss.stage, "cause": loss.cause, "rows": loss.rows, "at_most": loss.at_most}
            for loss in run.gaps()
        ]
        content = {
            "run_id": run.run_id,
            "env_id": info.get("env_id"),
            "created": json_value(run.created),
            "status": summary.status,
            "live_page": live_page(run.folder) if summary.status == "running" and not self._has_live else None,
            "steps": summary.steps,
            "mean_return": json_value(_mean_return(run)),
            "end": json_value({k: v for k, v in (run.end or {}).items() if k != "path"}) if run.end else None,
            "num_envs": info.get("num_envs"),
            "workers": info.get("workers"),
            "seed": json_value(info.get("seed")),
            "stride": info.get("episode_stride"),
            "frames": info.get("frames"),
            "versions": info.get("versions"),
            "host": info.get("host"),
            "sessions": json_value(info.get("sessions") or []),
            "adapter": {k: json_value(adapter.get(k)) for k in ("name", "class", "version", "action_names", "render")},
            "tables": json_table(self._lake.sql(parts, [run.run_id]).to_arrow()),
            "losses": losses,
            "causes": {cause.name: cause.meaning for cause in CAUSES.values()},
        }
        return answer(request, content)

    def returns(self, request: Request) -> Response:
        """Returns and lengths of episodes over time, and how they are spread."""
        asked = question(Returns, request)
        run = self._lake.run(asked.run)
        table = run.episodes("status = 'completed'").select('"return"', "length", "end_time", "episode").to_arrow()
        table = table.sort_by([("end_time", "ascending"), ("episode", "ascending")])
        columns = [
            table.column(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in ("return", "length")
        ]
        place, lines = thinned(np.arange(len(table), dtype=np.float64), columns, asked.points)
        spread = {
            name: _histogram(column, asked.bins) for name, column in zip(("return", "length"), columns, strict=True)
        }
        smooth = smoothed(columns[0])
        content = {
            "episodes": len(table),
            "place": place.tolist(),
            "return": [json_value(v) for v in lines[0].tolist()],
            "length": [json_value(v) for v in lines[1].tolist()],
            "smooth": [json_value(v) for v in smooth[place.astype(np.int64)].tolist()] if len(table) else [],
            "spread": spread,
        }
        return answer(request, content)

    def episodes(self, request: Request) -> Response:
        """A page of its episodes."""
        asked = question(EpisodesPage, request)
        run = self._lake.run(asked.run)
        conditions, values = asked.conditions()
        found = run.episodes()
        for condition in conditions:
            found = found.filter(condition)
        found = replace(found, params=tuple(values))
        ordered = found.order(f'"{asked.sort}" {asked.order} NULLS LAST', "episode")
        columns = [f'"{name}"' for name in EPISODE_COLUMNS]
        page = ordered.limit(asked.limit, asked.offset).select(*columns).to_arrow()
        return answer(request, {"total": len(found), "offset": asked.offset, "columns": json_table(page)})

    def ledger(self, request: Request) -> Response:
        """What it lacks, a page of rows."""
        asked = question(Page, request)
        rows = self._lake.run(asked.run).ledger()
        names = (
            "table_name",
            "cause",
            "of_worker",
            "of_incarnation",
            "rows",
            "at_most",
            "first_step",
            "last_step",
            "time",
        )
        page = rows.select(*[f'"{name}"' for name in names]).limit(asked.limit, asked.offset).to_arrow()
        content = {"total": len(rows), "columns": json_table(page)}
        return answer(request, content | {"causes": {c.name: [c.stage, c.meaning] for c in CAUSES.values()}})

    def metrics(self, request: Request) -> Response:
        """Queue depths, latencies, memory and CPU of its processes over time, one group a process."""
        asked = question(Metrics, request)
        names = (
            "queue_depth",
            "inflight_bytes",
            "flush_s",
            "lag_s",
            "waited_s",
            "resent",
            "memory_bytes",
            "cpu_s",
            "steps",
        )
        columns = ("source", "of_worker", "epoch_us(time) AS us", *names)
        table = self._lake.run(asked.run).metrics().select(*columns).order("us").to_arrow()
        groups: dict[str, Any] = {}
        source = np.array(table.column("source").to_pylist(), dtype=object)
        worker = np.array([-1 if w is None else w for w in table.column("of_worker").to_pylist()], dtype=np.int64)
        for kind, number in sorted({(str(s), int(w)) for s, w in zip(source, worker, strict=True)}):
            own = np.flatnonzero((source == kind) & (worker == number))
            rows = table.take(own)
            time_s = rows.column("us").to_numpy() / 1e6
            lines = [rows.column(n).to_numpy(zero_copy_only=False).astype(np.float64) for n in names]
            at, thin = thinned(time_s, lines, asked.points)
            groups[kind if kind != "producer" else f"producer {number}"] = {
                "time": at.tolist(),
                "lines": {
                    name: [json_value(v) for v in line.tolist()]
                    for name, line in zip(names, thin, strict=True)
                    if not np.isnan(line).all()
                },
            }
        meanings = {c.name: [c.meaning, c.unit] for c in TABLES["metrics"] if c.name in names}
        return answer(request, {"groups": groups, "meanings": meanings})

    def settings(self, request: Request) -> Response:
        """The settings that it was recorded with, each with its source."""
        run = self._lake.run(question(OfRun, request).run)
        kept = run.info.get("settings") or {}
        facts = {"versions": run.info.get("versions"), "host": run.info.get("host"), "seed": run.info.get("seed")}
        content = {
            "values": kept.get("values") or [],
            "evidence": json_value(kept.get("evidence") or {}),
            "legend": LEGEND,
        }
        return answer(request, content | {"facts": json_value(facts)})

    def schema(self, request: Request) -> Response:
        """Its spaces, columns and adapter, its normalization statistics and vector metadata where they are recorded."""
        run = self._lake.run(question(OfRun, request).run)
        info = run.info
        stored = {table: self._lake.stored_schema(run.run_id, table) for table in TABLES}
        content = {
            "payload_version": info.get("payload_version"),
            "spaces": info.get("spaces"),
            "space_signature": info.get("space_signature"),
            "adapter": json_value(info.get("adapter") or {}),
            "env": json_value({k: v for k, v in (info.get("env") or {}).items() if k != "spec"}),
            "vector": json_value(_vector(info)),
            "normalization": json_value(_normalization(info)),
            "columns": {
                table: [[field.name, str(field.type)] for field in found.schema]
                for table, found in stored.items()
                if found
            },
            "mismatches": json_table(
                self._lake.sql("SELECT * FROM mismatches WHERE run_id = ?", [run.run_id]).to_arrow()
            ),
        }
        return answer(request, content)


EPISODE_COLUMNS: Final = (
    *("episode", "sub_env", "length", "return", "status", "terminated", "truncated", "seed", "replay"),
    *("start_time", "end_time"),
)


def _careful(endpoint: Callable[[Request], Response]) -> Callable[[Request], Any]:
    """The endpoint in a thread, with an answer for whatever it raises on purpose."""

    async def asked(request: Request) -> Response:
        try:
            return await run_in_threadpool(endpoint, request)
        except ValidationError as error:
            message = str(ConfigError.from_pydantic(error))
            return answer(request, {"error": "parameter", "message": message}, 422)
        except LakeNotFound as error:
            return answer(request, {"error": "not_found", "message": str(error)}, 404)
        except CorruptRecording as error:
            return answer(request, {"error": "damaged", "message": str(error)}, 409)
        except RolltapeError as error:
            return answer(request, {"error": "unavailable", "message": str(error)}, 409)

    return asked


def _mean_return(run: Run) -> float | None:
    """Of the completed episodes, so far where the run has no end."""
    if run.end is not None:
        return run.end.get("mean_return")
    returns = run.episodes("status = 'completed'").select('"return"').to_arrow().column(0)
    return float(returns.to_numpy(zero_copy_only=False).mean()) if len(returns) else None


def _vector(info: dict[str, Any]) -> dict[str, Any]:
    env = info.get("env") or {}
    names = ("num_envs", "stride", "autoreset", "autoreset_mode", "vectorization", "sub_envs")
    return {"num_envs": info.get("num_envs"), "workers": info.get("workers")} | {k: env[k] for k in names if k in env}


def _normalization(info: dict[str, Any]) -> Any:
    return info.get("normalization_stats") or (info.get("env") or {}).get("normalization_stats")


def _histogram(values: np.ndarray, bins: int) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return {"edges": [], "counts": []}
    counts, edges = np.histogram(finite, bins=bins)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
