"""What stands for the look of an environment at one moment: `grid`, `rgb`, `graph` or `text`, small, typed and JSON.

Rules:
1. A payload says what is there, not how it is drawn: a page, a notebook and a terminal each draw it in their way.
2. It is complete: nobody needs the payload before it, the adapter or the environment to show it.
3. Pictures are never inside. `rgb` names the recorded or live frame that shows the moment, by kind, episode and t,
   never by a path.
4. `kind` and `version` come first. A reader refuses a version above its own; fields are only added with a new version.

`FIELDS` below is the table of all fields; docs/adapters.md shows it, and `payload_from_json` checks by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Literal, TypeAlias

from .errors import SchemaError, SchemaMismatch

Fact: TypeAlias = str | int | float | bool
Facts: TypeAlias = Mapping[str, Fact]
FrameKind = Literal["observation", "render"]
SIDES: Final = ("east", "south")
FACINGS: Final = ("", "up", "right", "down", "left")


def _said(meaning: str, **how: Any) -> Any:
    return field(metadata={"meaning": meaning}, **how)


_FACTS = {"meaning": "names and values to show beside it"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GridItem:
    """Something on a cell of a grid."""

    name: str = _said("what it is: agent, goal, passenger, key, card, …")
    row: int = _said("row of its cell, 0 at the top")
    column: int = _said("column of its cell, 0 at the left")
    label: str = _said("a few letters to write on it", default="")
    facing: str = _said("up, right, down, left, or nothing", default="")
    color: str = _said("a CSS colour, or nothing", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPayload:
    """Cells in rows and columns, and what stands on them."""

    kind: ClassVar[str] = "grid"
    version: ClassVar[int] = 1
    rows: int = _said("number of rows, at least 1")
    columns: int = _said("number of columns, at least 1")
    tiles: tuple[str, ...] = _said("names of the kinds of cells; a colour may follow a space: `wall grey`")
    cells: tuple[tuple[int, ...], ...] = _said("one number a cell, row by row: a place in `tiles`")
    items: tuple[GridItem, ...] = _said("what stands on the cells; later ones are drawn over earlier ones", default=())
    walls: tuple[tuple[int, int, str], ...] = _said(
        "thin walls as (row, column, side of that cell: east or south)", default=()
    )
    facts: Facts = field(default_factory=dict, metadata=_FACTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RgbPayload:
    """A frame shows it: the observation itself, or what `render()` gives."""

    kind: ClassVar[str] = "rgb"
    version: ClassVar[int] = 1
    frame: FrameKind = field(metadata={"meaning": "which frame: observation or render"})
    run_id: str | None = _said("the run that the frame belongs to; null while it is live", default=None)
    episode: int | None = _said("number of its episode; null while it is live", default=None)
    t: int | None = _said("the frame is seen before step t; null while it is live", default=None)
    facts: Facts = field(default_factory=dict, metadata=_FACTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """A node of a graph."""

    id: str = _said("its name, unique in the graph")
    label: str = _said("a few letters to write on it", default="")
    role: str = _said("agent, goal, visited, …: what to tell it by", default="")
    x: float | None = _said("where it lies, 0 left to 1 right; null: the viewer lays it out", default=None)
    y: float | None = _said("where it lies, 0 top to 1 bottom; null: the viewer lays it out", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphEdge:
    """An edge of a graph."""

    source: str = _said("id of the node that it comes from")
    target: str = _said("id of the node that it goes to")
    label: str = _said("a few letters to write on it", default="")
    role: str = _said("what to tell it by", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphPayload:
    """Nodes and edges."""

    kind: ClassVar[str] = "graph"
    version: ClassVar[int] = 1
    nodes: tuple[GraphNode, ...] = _said("the nodes, each id once")
    edges: tuple[GraphEdge, ...] = _said("the edges; both ends are among the nodes", default=())
    directed: bool = _said("whether edges have arrows", default=False)
    facts: Facts = field(default_factory=dict, metadata=_FACTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPayload:
    """Lines of text, all characters of one width."""

    kind: ClassVar[str] = "text"
    version: ClassVar[int] = 1
    lines: tuple[str, ...] = _said("without line breaks and control characters")
    facts: Facts = field(default_factory=dict, metadata=_FACTS)


RenderPayload: TypeAlias = GridPayload | RgbPayload | GraphPayload | TextPayload

PAYLOADS: Final[dict[str, type[Any]]] = {
    kind.kind: kind for kind in (GridPayload, RgbPayload, GraphPayload, TextPayload)
}
"""Payload classes by their kind."""

PARTS: Final[dict[str, type[Any]]] = {"item": GridItem, "node": GraphNode, "edge": GraphEdge}
"""What payloads are made of."""

FIELDS: Final = tuple(
    (name, f.name, str(f.type), str(f.metadata["meaning"]))
    for name, kind in (*PAYLOADS.items(), *PARTS.items())
    for f in fields(kind)
)
"""(payload or part, field, type, meaning) of every field there is."""


def payload_to_json(payload: RenderPayload) -> dict[str, Any]:
    """A payload as plain dicts, lists, strings, numbers and booleans; `kind` and `version` first."""
    return {"kind": payload.kind, "version": payload.version, **_plain_fields(payload)}


def _plain_fields(value: Any) -> dict[str, Any]:
    return {
        name: _plain(getattr(value, name)) for name in value.__dataclass_fields__ if name not in ("kind", "version")
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return _plain_fields(value) if type(value) in _PART_TYPES else value


def payload_from_json(value: Any) -> RenderPayload:
    """The inverse of `payload_to_json`, checked.

    Raises:
        SchemaError: not a payload, of an unknown kind, or of a newer version.
        SchemaMismatch: a field is missing, unknown, or has a value that it cannot have; the message names it.
    """
    if not isinstance(value, Mapping) or value.get("kind") not in PAYLOADS:
        kind = value.get("kind") if isinstance(value, Mapping) else value
        raise SchemaError(f"render payload: kind must be one of {', '.join(PAYLOADS)} (got {kind!r}).")
    made = PAYLOADS[value["kind"]]
    version = value.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= made.version:
        raise SchemaError(
            f"render payload {made.kind}: version {version!r} cannot be read, only 1 to {made.version}. "
            "A newer Rolltape made it."
        )
    payload = _build(made, {k: v for k, v in value.items() if k not in ("kind", "version")}, made.kind)
    check_payload(payload)
    return payload


def _build(made: type[Any], values: Any, path: str) -> Any:
    if not isinstance(values, Mapping):
        raise SchemaMismatch(f"render payload {path}: expected an object (got {values!r}).")
    known = {f.name for f in fields(made)}
    if unknown := sorted(set(values) - known):
        there = ", ".join(sorted(known))
        raise SchemaMismatch(f"render payload {path}: unknown field {unknown[0]!r}; there are {there}.")
    given = {}
    for name, value in values.items():
        part = _LISTS.get(name)
        if part is not None and isinstance(value, list | tuple):
            given[name] = tuple(_build(part, item, f"{path}.{name}[{i}]") for i, item in enumerate(value))
        else:
            given[name] = _tuples(value)
    try:
        return made(**given)
    except TypeError as error:
        missing = ", ".join(f.name for f in fields(made) if f.name not in values)
        raise SchemaMismatch(f"render payload {path}: a field is missing, of {missing}.") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def check_payload(payload: Any) -> None:
    """Do nothing for a payload that every viewer can show.

    Raises:
        SchemaMismatch: it is none, or a field has a value that it cannot have; the message names the field, what was
            expected and what was found.
    """
    if type(payload) not in PAYLOADS.values():
        raise SchemaMismatch(
            f"render payload: expected one of {', '.join(kind.__name__ for kind in PAYLOADS.values())} or None "
            f"(got {type(payload).__name__})."
        )
    _check_fields(payload, payload.kind)
    if isinstance(payload, GridPayload):
        _check_grid(payload)
    elif isinstance(payload, GraphPayload):
        _check_graph(payload)
    elif isinstance(payload, RgbPayload):
        _want(payload.frame in ("observation", "render"), "rgb.frame", "observation or render", payload.frame)
    else:
        for i, line in enumerate(payload.lines):
            _want(line.isprintable(), f"text.lines[{i}]", "printable characters", line)


def _check_fields(value: Any, path: str) -> None:
    for f in fields(value):
        item, kind = getattr(value, f.name), str(f.type)
        where = f"{path}.{f.name}"
        if f.name == "facts":
            _want(isinstance(item, Mapping), where, "a dict", item)
            for name, fact in item.items():
                plain = isinstance(name, str) and type(fact) in (str, int, float, bool)
                _want(plain, f"{where}[{name!r}]", "a text, number or boolean of Python's own", fact)
                _want(fact == fact and fact not in (float("inf"), float("-inf")), f"{where}[{name!r}]", "finite", fact)
        elif f.name in _LISTS:
            _want(isinstance(item, tuple), where, "a tuple", item)
            for i, part in enumerate(item):
                _want(type(part) is _LISTS[f.name], f"{where}[{i}]", _LISTS[f.name].__name__, part)
                _check_fields(part, f"{where}[{i}]")
        elif kind in _SCALARS:
            _want(type(item) in _SCALARS[kind], where, kind, item)
        else:
            _want(isinstance(item, tuple), where, "a tuple", item)
            if kind == "tuple[str, ...]":
                _want(all(type(one) is str for one in item), where, "texts", item)


def _check_grid(grid: GridPayload) -> None:
    _want(grid.rows >= 1 and grid.columns >= 1, "grid.rows, grid.columns", "at least 1", (grid.rows, grid.columns))
    shape = len(grid.cells), {len(row) if isinstance(row, tuple) else -1 for row in grid.cells}
    _want(shape == (grid.rows, {grid.columns}), "grid.cells", f"{grid.rows} tuples of {grid.columns}", shape)
    for cell in {cell for row in grid.cells for cell in row}:
        _want(type(cell) is int and 0 <= cell < len(grid.tiles), "grid.cells", f"0 to {len(grid.tiles) - 1}", cell)
    for i, item in enumerate(grid.items):
        inside = 0 <= item.row < grid.rows and 0 <= item.column < grid.columns
        _want(inside, f"grid.items[{i}]", f"a cell of the {grid.rows} × {grid.columns}", (item.row, item.column))
        _want(item.facing in FACINGS, f"grid.items[{i}].facing", ", ".join(FACINGS[1:]), item.facing)
    for i, wall in enumerate(grid.walls):
        fits = (
            len(wall) == 3
            and all(type(number) is int for number in wall[:2])
            and 0 <= wall[0] < grid.rows
            and 0 <= wall[1] < grid.columns
            and wall[2] in SIDES
        )
        _want(fits, f"grid.walls[{i}]", "(row, column, east or south)", wall)


def _check_graph(graph: GraphPayload) -> None:
    names = {node.id for node in graph.nodes}
    _want(len(names) == len(graph.nodes), "graph.nodes", "each id once", [node.id for node in graph.nodes])
    for i, edge in enumerate(graph.edges):
        ends = {edge.source, edge.target}
        _want(ends <= names, f"graph.edges[{i}]", "ends that are nodes", sorted(ends - names))


def _want(fits: bool, path: str, expected: str, found: Any) -> None:
    if not fits:
        raise SchemaMismatch(f"render payload {path}: expected {expected} (got {found!r}).")


_PART_TYPES = frozenset(PARTS.values())
_LISTS: dict[str, type[Any]] = {"items": GridItem, "nodes": GraphNode, "edges": GraphEdge}
_SCALARS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "str | None": (str, type(None)),
    "int | None": (int, type(None)),
    "float | None": (float, int, type(None)),
    "FrameKind": (str,),
}
