"""The results as tables: on a terminal, as CSV, as Markdown. One declaration of columns for all three."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .comparison import Comparison
from .orders import Outcome
from .results import Results
from .targets import verdicts

BEGIN, END = "<!-- results: written by `make bench` -->", "<!-- end of results -->"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of comparisons."""

    title: str
    text: Callable[[Comparison], str]


def _number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, whole above a thousand."""
    if value is None:
        return "–"
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def _mib(value: float | None) -> str:
    return "–" if value is None else f"{value / 2**20:,.0f}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


COLUMNS = (
    Column("workload", lambda c: c.name),
    Column("recorder", lambda c: c.recorder),
    Column("bare steps/s", lambda c: _number(c.bare_per_s)),
    Column("recorded steps/s", lambda c: _number(c.step_per_s)),
    Column("ratio", lambda c: _ratio(c.step_ratio)),
    Column("with drain steps/s", lambda c: _number(c.total_per_s)),
    Column("ratio with drain", lambda c: _ratio(c.total_ratio)),
    Column("lowest–highest", lambda c: f"{_ratio(c.ratio_low)}–{_ratio(c.ratio_high)}"),
    Column("ratio by CPU", lambda c: _ratio(c.cpu_ratio)),
    Column("added µs CPU/step", lambda c: _number(c.added_us)),
    Column("producer CPU s/M", lambda c: _number(c.producer_cpu_s)),
    Column("writer CPU s/M", lambda c: _number(c.writer_cpu_s)),
    Column("hub CPU s/M", lambda c: _number(c.hub_cpu_s)),
    Column("Ray CPU s/M", lambda c: _number(c.other_cpu_s)),
    Column("B/step", lambda c: _number(c.bytes_per_step)),
    Column("B/frame", lambda c: _number(c.bytes_per_frame)),
    Column("peak MiB", lambda c: _mib(c.peak_bytes)),
    Column("bare peak MiB", lambda c: _mib(c.peak_bare_bytes)),
    Column("in flight MiB", lambda c: _mib(c.inflight_high_bytes)),
    Column("lag s", lambda c: _number(c.lag_high_s)),
    Column("waited s", lambda c: _number(c.waited_s)),
    Column("noise cores", lambda c: _number(c.noise_cores, 2)),
    Column("speed beside", lambda c: _ratio(c.speed_beside)),
    Column("pairs", lambda c: str(c.pairs)),
    Column("bare s", lambda c: _number(c.bare_s)),
)

TARGET_TITLES = ("where", "figure", "must", "measured", "met", "best of the others")
FIGURE_TITLES = ("figure", "value", "unit", "how")


def comparison_rows(results: Results) -> list[list[str]]:
    """The cells under `COLUMNS`."""
    return [[column.text(c) for column in COLUMNS] for c in results.comparisons()]


def figure_rows(results: Results) -> list[list[str]]:
    """The cells under `FIGURE_TITLES`."""
    return [[f.title, _number(f.value), f.unit, f.detail] for f in results.by_name().values()]


def target_rows(results: Results) -> list[list[str]]:
    """The cells under `TARGET_TITLES`."""
    said = {True: "met", False: "NOT MET", None: "not measured"}
    return [
        [
            v.target.where,
            v.target.what,
            f"{v.target.bound} {_number(v.target.limit)} {v.target.unit}".strip(),
            _number(v.value),
            said[v.met],
            v.target.best or "–",
        ]
        for v in verdicts(results)
    ]


def print_tables(results: Results, console: Console) -> None:
    """All tables, for a person at a terminal."""
    titles = [column.title for column in COLUMNS]
    for title, head, rows in (
        ("What recording costs", titles, comparison_rows(results)),
        ("Single figures", FIGURE_TITLES, figure_rows(results)),
        ("What must be reached", TARGET_TITLES, target_rows(results)),
    ):
        if rows:
            table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
            for name in head:
                table.add_column(name, justify="left" if rows[0][head.index(name)][:1].isalpha() else "right")
            for row in rows:
                table.add_row(*row)
            console.print(table)
            console.print()


def write_files(results: Results, folder: Path) -> list[Path]:
    """Write `runs.csv` (every run), `comparisons.csv`, `figures.csv`, `targets.csv` and `benchmarks.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = [outcome for pairs in results.pairs.values() for pair in pairs for outcome in pair]
    comparisons = results.comparisons()
    names = [field.name for field in fields(Outcome)]
    written = [
        _csv(folder / "runs.csv", names, [list(asdict(o).values()) for o in outcomes]),
        _csv(
            folder / "comparisons.csv",
            [field.name for field in fields(Comparison)],
            [list(asdict(c).values()) for c in comparisons],
        ),
        _csv(
            folder / "figures.csv",
            ["name", "title", "value", "unit", "detail"],
            [list(asdict(f).values()) for f in results.by_name().values()],
        ),
        _csv(
            folder / "targets.csv",
            ["where", "figure", "bound", "limit", "unit", "measured", "met"],
            [
                [v.target.where, v.target.what, v.target.bound, v.target.limit, v.target.unit, v.value, v.met]
                for v in verdicts(results)
            ],
        ),
    ]
    page = folder / "benchmarks.md"
    page.write_text(markdown(results))
    return [*written, page]


def write_into_page(results: Results, page: Path) -> None:
    """Replace what stands between the two marks of a page. Raises ValueError where they are missing."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no section between {BEGIN!r} and {END!r}")
    page.write_text(f"{before}{BEGIN}\n\n{markdown(results)}\n{END}{after}")


def markdown(results: Results) -> str:
    """The tables and what they were measured on."""
    parts = [_circumstances(results)]
    for title, head, rows in (
        ("What must be reached", TARGET_TITLES, target_rows(results)),
        ("What recording costs", [column.title for column in COLUMNS], comparison_rows(results)),
        ("Single figures", FIGURE_TITLES, figure_rows(results)),
    ):
        if rows:
            lines = [_line(head), _line(["---"] * len(head)), *map(_line, rows)]
            parts.append(f"### {title}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _circumstances(results: Results) -> str:
    machines: dict[str, list[str]] = {}
    for name, said in results.circumstances.items():
        machine = "; ".join(str(said[k]) for k in ("processor", "memory", "system", "versions") if k in said)
        machines.setdefault(machine, []).append(name)
    days = sorted({said["when"][:10] for said in results.circumstances.values() if "when" in said})
    lines = [f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))}." if days else "Nothing measured yet."]
    for machine, names in machines.items():
        lines.append(f"On {machine}" + (f" ({', '.join(names)})." if len(machines) > 1 else "."))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
    return path
