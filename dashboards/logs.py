"""What happened in a run, as log records: those of the table `logs`, and what the recording itself tells."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rolltape.schema.columns import TABLES
from rolltape.storage.lake import Lake
from rolltape.storage.runs import Run

from .json_values import answer, json_value
from .questions import LogsPage, question

TABLE = "logs"
COLUMNS = ("time", "severity", "component", "code", "message", "fields")


class LogView:
    """The route of a run's log."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def routes(self) -> list[Route]:
        """What is served."""
        return [Route("/runs/{run}/logs", self.logs)]

    def logs(self, request: Request) -> Response:
        """A page of records, newest last, and how many there are of each severity, component and code."""
        asked = question(LogsPage, request)
        rows = records(self._lake.run(asked.run))
        facets: dict[str, dict[str, int]] = {}
        for name in ("severity", "component", "code"):
            counts: dict[str, int] = {}
            for row in rows:
                counts[row[name]] = counts.get(row[name], 0) + 1
            facets[name] = dict(sorted(counts.items()))
        wanted = {name: getattr(asked, name) for name in ("severity", "component", "code") if getattr(asked, name)}
        chosen = {name: set(value.split(",")) for name, value in wanted.items()}
        kept = [row for row in rows if all(row[name] in values for name, values in chosen.items())]
        if asked.text:
            needle = asked.text.lower()
            kept = [row for row in kept if needle in row["message"].lower() or needle in row["code"].lower()]
        page = kept[asked.offset : asked.offset + asked.limit]
        columns = {name: [json_value(row[name]) for row in page] for name in COLUMNS}
        content = {"total": len(kept), "all": len(rows), "columns": columns, "facets": facets, "table": TABLE in TABLES}
        return answer(request, content)


def records(run: Run) -> list[dict[str, Any]]:
    """All records of a run in the order of their time."""
    rows = [*_stored(run), *_told(run)]
    return sorted(rows, key=lambda row: row["time"])


def _stored(run: Run) -> list[dict[str, Any]]:
    if TABLE not in TABLES:
        return []
    table: pa.Table = run.lake._table(TABLE, run).to_arrow()
    known = set(table.column_names)
    found = []
    for row in table.to_pylist():
        rest = {k: v for k, v in row.items() if k not in COLUMNS and k != "run_id" and v is not None}
        found.append(
            {
                "time": row["time"].timestamp() * 1000,
                "severity": str(row.get("severity") or "INFO"),
                "component": str(row.get("component") or ""),
                "code": str(row.get("code") or ""),
                "message": str(row.get("message") or ""),
                "fields": rest,
            }
        )
    return found if known else []


def _told(run: Run) -> list[dict[str, Any]]:
    """What the small files and the ledger say of a run's life."""
    summary, info = run.summary, run.info
    started = run.created.timestamp() * 1000
    env = f"{info.get('env_id')} in {info.get('num_envs')} sub-environments"
    found = [_row(started, "INFO", "run", "RUN.STARTED", f"Recording of {env} began.", {"seed": info.get("seed")})]
    for session in info.get("sessions") or []:
        since = session.get("since_ns") or session.get("created_ns") or 0
        found.append(_row(since / 1e6 or started, "INFO", "run", "RUN.RESUMED", "The run was resumed.", session))
    for loss in run.gaps():
        severity = "ERROR" if loss.stage == "lost" else "WARNING"
        found.append(_row(loss.declared_us / 1e3, severity, "ledger", f"LOSS.{loss.cause.upper()}", str(loss), {}))
    end = summary.end
    if end is not None:
        status = str(end.get("status"))
        seconds = end.get("seconds")
        took = f" after {seconds:,.1f} s" if isinstance(seconds, int | float) else ""
        reason = f": {end['reason']}" if end.get("reason") else ""
        severity = "INFO" if status == "completed" else "WARNING" if status == "stopped" else "ERROR"
        counts = {k: end.get(k) for k in ("steps", "episodes", "lost_steps", "lag_high_s", "waited_s", "restarts")}
        message = f"The run is {status}{took}{reason}"
        found.append(_row(end.get("ended_ns", 0) / 1e6, severity, "run", f"RUN.{status.upper()}", message, counts))
        for name, count in (end.get("mismatches") or {}).items():
            text = f"{name}: {count} values did not fit"
            found.append(_row(end.get("ended_ns", 0) / 1e6, "WARNING", "schema", "SCHEMA.MISMATCH", text, {}))
    elif summary.status == "crashed":
        message = "No end was written and nobody is at work. `rolltape verify` settles what was lost."
        found.append(_row(started, "ERROR", "run", "RUN.CRASHED", message, {}))
    return found


def _row(time: float, severity: str, component: str, code: str, message: str, fields: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in fields.items() if value is not None}
    return dict(zip(COLUMNS, (time, severity, component, code, message, given), strict=True))
