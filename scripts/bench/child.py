"""The fresh process of one measurement: `python -m rolltape.scripts.bench.child ORDER RESULT`, both JSON files.

A process of its own, because memory, imports, warm caches and Ray would otherwise be those of the run before.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from .catalogue import figure_group, workloads
from .figure import FigureOrder
from .orders import Order


def main(order_path: str, result_path: str) -> None:
    """Carry out what the file orders and write what was found."""
    asked = json.loads(Path(order_path).read_text())
    if "group" in asked:
        figures = figure_group(asked["group"]).measure(FigureOrder(asked["folder"], asked["quick"]))
        Path(result_path).write_text(json.dumps([asdict(figure) for figure in figures]))
    else:
        order = Order.of(asked)
        workloads()[order.name].measure(order).write(Path(result_path))


if __name__ == "__main__":
    main(*sys.argv[1:])
