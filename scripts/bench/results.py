"""The folder of results: one JSON file a workload and recorder, and one a group of figures.

What is measured again replaces what was there, so that a long measurement can be done in parts; the tables are always
made of everything in the folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .comparison import Comparison
from .figure import Figure
from .orders import Outcome
from .pairs import Pair


@dataclass
class Results:
    """Everything that a folder holds.

    Attributes:
        pairs: by (workload, recorder).
        figures: by group.
        circumstances: of each file, by its name without suffix: `when`, `seconds`, and the machine's description.
    """

    pairs: dict[tuple[str, str], list[Pair]] = field(default_factory=dict)
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    circumstances: dict[str, dict[str, Any]] = field(default_factory=dict)

    def comparisons(self) -> list[Comparison]:
        """One a workload and recorder."""
        return [Comparison.of(pairs) for pairs in self.pairs.values()]

    def by_name(self) -> dict[str, Figure]:
        """All figures."""
        return {figure.name: figure for group in self.figures.values() for figure in group}


class ResultFolder:
    """Where results are kept: `<folder>/raw/*.json`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.raw = path / "raw"

    def keep_pairs(self, pairs: list[Pair], circumstances: Mapping[str, Any]) -> None:
        """Keep what was measured of one workload and recorder."""
        first = pairs[0][1]
        body = [[asdict(bare), asdict(recorded)] for bare, recorded in pairs]
        self._keep(f"{first.name}.{first.recorder}", {"pairs": body}, circumstances)

    def keep_figures(self, group: str, figures: list[Figure], circumstances: Mapping[str, Any]) -> None:
        """Keep what a group measured."""
        self._keep(f"figures.{group}", {"figures": [asdict(figure) for figure in figures]}, circumstances)

    def _keep(self, name: str, body: dict[str, Any], circumstances: Mapping[str, Any]) -> None:
        self.raw.mkdir(parents=True, exist_ok=True)
        when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        partial = self.raw / f"{name}.partial"
        partial.write_text(json.dumps({"when": when, **circumstances, **body}, indent=1) + "\n")
        partial.rename(self.raw / f"{name}.json")

    def read(self, workloads: list[str], groups: list[str]) -> Results:
        """Everything that was kept, in the order of `workloads` and `groups`."""
        results, files = Results(), {}
        for path in sorted(self.raw.glob("*.json")):
            name = path.name.removesuffix(".json")
            files[name] = body = json.loads(path.read_text())
            results.circumstances[name] = {k: v for k, v in body.items() if k not in ("pairs", "figures")}
        for workload in workloads:
            mine = [name for name in files if name.rpartition(".")[0] == workload]
            for name in sorted(mine, key=lambda n: (not n.endswith(".rolltape"), n)):
                pairs = [(Outcome.of(bare), Outcome.of(recorded)) for bare, recorded in files[name]["pairs"]]
                results.pairs[workload, name.rpartition(".")[2]] = pairs
        for group in groups:
            if (body := files.get(f"figures.{group}")) is not None:
                results.figures[group] = [Figure(**figure) for figure in body["figures"]]
        return results
