"""What was said in a run: the rows of the table `logs`, or, of a recording without them, what its small files tell."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rolltape.schema.log_codes import CATALOGUE, LEVELS
from rolltape.storage.lake import Lake
from rolltape.storage.relation import Relation
from rolltape.storage.runs import Run

from .json_values import answer, json_value
from .questions import LogsPage, question

FACETS: Final = ("level", "component", "code", "origin")
COLUMNS: Final = ("time", "level", "component", "subcomponent", "code", "message", "data", "origin")
WHERE: Final = ("worker", "sub_env", "episode", "host", "pid")
"""Where a record comes from and what it is about; null where it is about none."""


class LogView:
    """The route of a run's log."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def routes(self) -> list[Route]:
        """What is served."""
        return [Route("/runs/{run}/logs", self.logs)]

    def logs(self, request: Request) -> Response:
        """A page of records in the order of time, and how many there are of each level, component, code and origin."""
        asked = question(LogsPage, request)
        run = self._lake.run(asked.run)
        rows = run.lake.logs(run=run)
        if len(rows):
            total, page, facets = _stored(rows, asked)
            everything = sum(facets["level"].values())
        else:
            told = told_by_files(run)
            kept = [row for row in told if _fits(row, asked)]
            total, everything = len(kept), len(told)
            shown = kept[asked.offset : asked.offset + asked.limit]
            page = {name: [json_value(row.get(name)) for row in shown] for name in (*COLUMNS, *WHERE)}
            facets = {name: _counted([row.get(name) for row in told]) for name in FACETS}
        content = {"total": total, "all": everything, "columns": page, "facets": facets, "levels": LEVELS}
        codes = {code: known for code in facets["code"] if (known := _known(code)) is not None}
        return answer(request, content | {"codes": codes})


def _stored(rows: Relation, asked: LogsPage) -> tuple[int, dict[str, list[Any]], dict[str, dict[str, int]]]:
    conditions: list[str] = []
    values: list[Any] = []
    for name in FACETS:
        if chosen := getattr(asked, name):
            wanted = chosen.split(",")
            conditions.append(f"{name}::VARCHAR IN ({', '.join('?' * len(wanted))})")
            values += wanted
    if asked.text:
        conditions.append("(contains(lower(message), ?) OR contains(lower(code::VARCHAR), ?))")
        values += [asked.text.lower()] * 2
    kept = rows
    for condition in conditions:
        kept = kept.filter(condition)
    kept = replace(kept, params=tuple(values))
    names = [f"{name}::VARCHAR AS {name}" for name in COLUMNS if name != "time"]
    page = kept.limit(asked.limit, asked.offset).select("time", *names, *WHERE).to_arrow()
    columns = {name: [json_value(value) for value in page.column(name).to_pylist()] for name in page.column_names}
    columns["data"] = [json.loads(text) if text else None for text in columns["data"]]
    counted = rows.select(*[f"{name}::VARCHAR AS {name}" for name in FACETS]).to_arrow()
    facets = {
        name: {str(pair["values"]): pair["counts"] for pair in counted.column(name).value_counts().to_pylist()}
        for name in FACETS
    }
    return len(kept), columns, {name: dict(sorted(facet.items())) for name, facet in facets.items()}


def _fits(row: dict[str, Any], asked: LogsPage) -> bool:
    for name in FACETS:
        chosen = getattr(asked, name)
        if chosen and row[name] not in chosen.split(","):
            return False
    needle = (asked.text or "").lower()
    return needle in row["message"].lower() or needle in row["code"].lower()


def _counted(values: list[Any]) -> dict[str, int]:
    return {str(value): values.count(value) for value in sorted(set(values))}


def _known(code: str) -> dict[str, Any] | None:
    """What the catalogue says of a code."""
    found = CATALOGUE.by_code(code)
    return None if found is None else {"message": found.message, "action": found.action, "tags": list(found.tags)}


def told_by_files(run: Run) -> list[dict[str, Any]]:
    """A run's life as `run.json`, `end.json` and the ledger tell it, in the order of time."""
    summary, info = run.summary, run.info
    started = run.created.timestamp() * 1000
    several = "" if info.get("num_envs") == 1 else "s"
    env = f"{info.get('env_id')} in {info.get('num_envs')} sub-environment{several}"
    found = [_row(started, "info", "run", f"The recording of {env} began.", {"seed": info.get("seed")})]
    for loss in run.gaps():
        found.append(
            _row(loss.declared_us / 1e3, "error" if loss.stage == "lost" else "warning", "ledger", str(loss), {})
        )
    end = summary.end
    if end is not None:
        status = str(end.get("status"))
        seconds = end.get("seconds")
        took = f" after {seconds:,.1f} s" if isinstance(seconds, int | float) else ""
        reason = f": {end['reason']}" if end.get("reason") else ""
        level = "info" if status == "completed" else "warning" if status == "stopped" else "error"
        counts = {k: end.get(k) for k in ("steps", "episodes", "lost_steps", "lag_high_s", "waited_s", "restarts")}
        at = end["ended_ns"] / 1e6 if end.get("ended_ns") else started + 1000 * (end.get("seconds") or 0)
        found.append(_row(at, level, "run", f"The run is {status}{took}{reason}", counts))
        for name, count in (end.get("mismatches") or {}).items():
            found.append(_row(at, "warning", "schema", f"{name}: {count} values did not fit", {}))
    elif summary.status == "crashed":
        message = "No end was written and nobody is at work. `rolltape verify` settles what was lost."
        found.append(_row(started, "error", "run", message, {}))
    return sorted(found, key=lambda row: row["time"])


def _row(time: float, level: str, component: str, message: str, data: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in data.items() if value is not None}
    return dict(zip(COLUMNS, (time, level, component, "", "", message, given, "files"), strict=True))
