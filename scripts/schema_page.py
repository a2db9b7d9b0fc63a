"""The generated parts of docs/schema.md: what stands between `<!-- table: name -->` and `<!-- end -->` on that page.

Each comes from the declaration that the code uses itself: columns, the keys of version 0, versions, mismatches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from rolltape.schema.columns import KEYS, TABLES, Column
from rolltape.schema.mismatches import KINDS
from rolltape.schema.payload_v0 import STEP_V0
from rolltape.schema.payload_versions import PAYLOAD_VERSIONS

PLACE: Final = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.S)
OF_THE_SPACE: Final = {"observation": "of the space", "final_observation": "of the space", "action": "of the space"}


def filled(page: str) -> str:
    """The page with every generated part written anew. Raises SystemExit for a part that nobody knows."""

    def part(found: re.Match[str]) -> str:
        name = found[2]
        if name not in PARTS:
            raise SystemExit(f"docs/schema.md asks for the table {name!r}; there are {', '.join(PARTS)}")
        return f"{found[1]}{PARTS[name]()}\n{found[3]}"

    return PLACE.sub(part, page)


def missing(page: str) -> list[str]:
    """The generated parts that the page has no place for."""
    asked = {found[2] for found in PLACE.finditer(page)}
    return [name for name in PARTS if name not in asked]


def _rows(head: str, rows: Iterable[Iterable[str]]) -> str:
    width = head.count("|") + 1
    lines = [f"| {head} |", "|" + "---|" * width]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _columns(columns: Iterable[Column]) -> str:
    return _rows(
        "key | type | unit | null | since | meaning",
        (
            (
                f"`{c.name}`",
                "struct" if c.name == "info" else OF_THE_SPACE.get(c.name, "") if c.type is None else _type(c),
                c.unit,
                "yes" if c.nullable else "",
                str(c.since),
                c.meaning,
            )
            for c in columns
        ),
    )


def _type(column: Column) -> str:
    text = str(column.type)
    if text.startswith("dictionary<values=string"):
        return "string, dictionary"
    return text.replace("timestamp[us, tz=UTC]", "timestamp[us, UTC]")


def _table(name: str) -> Callable[[], str]:
    return lambda: _columns(column for column in TABLES[name] if column not in KEYS)


def _legacy() -> str:
    return _rows(
        "key | JSON type | unit | required | meaning | becomes",
        (
            (
                f"`{k.name}`",
                "any" if len(k.types) == 6 else " or ".join(k.types),
                k.unit,
                "yes" if k.required else "",
                k.meaning,
                k.becomes,
            )
            for k in STEP_V0
        ),
    )


def _versions() -> str:
    return _rows(
        "version | form | who speaks it | what becomes of it | replays",
        ((f"{v.version} ({v.name})", v.form, v.spoken_by, v.reads, v.replays) for v in PAYLOAD_VERSIONS),
    )


def _mismatches() -> str:
    return _rows(
        "code | meaning | versions | `enforce`",
        (
            (f"`{k.code}`", k.meaning, ", ".join(map(str, k.versions)), "refuses" if k.refused else "counts")
            for k in KINDS.values()
        ),
    )


PARTS: Final[dict[str, Callable[[], str]]] = {
    "keys": lambda: _columns(KEYS),
    **{name: _table(name) for name in TABLES},
    "step_v0": _legacy,
    "versions": _versions,
    "mismatches": _mismatches,
}
