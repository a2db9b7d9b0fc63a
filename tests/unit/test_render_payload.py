"""Render payloads: through JSON and back unchanged, and what no viewer can show is refused with the field's name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rolltape.schema.errors import SchemaError, SchemaMismatch
from rolltape.schema.render_payload import (
    FIELDS,
    PAYLOADS,
    GraphEdge,
    GraphNode,
    GraphPayload,
    GridItem,
    GridPayload,
    RenderPayload,
    RgbPayload,
    TextPayload,
    check_payload,
    payload_from_json,
    payload_to_json,
)

GRID = GridPayload(
    rows=2,
    columns=3,
    tiles=("floor", "wall grey"),
    cells=((0, 0, 1), (1, 0, 0)),
    items=(GridItem(name="agent", row=1, column=2, facing="left", color="red", label="A"),),
    walls=((0, 1, "east"),),
    facts={"mission": "go", "steps": 3, "hurt": 0.5, "done": False},
)
RGB = RgbPayload(frame="render", run_id="01M", episode=3, t=0)
GRAPH = GraphPayload(
    nodes=(GraphNode(id="a", role="agent", x=0.5, y=0.0), GraphNode(id="b")),
    edges=(GraphEdge(source="a", target="b", label="3"),),
    directed=True,
)
TEXT = TextPayload(lines=("position +0.1 m", ""), facts={"t": 1})
ALL = [GRID, RGB, GRAPH, TEXT]


@pytest.mark.parametrize("payload", ALL, ids=lambda payload: payload.kind)
def test_through_json_and_back(payload: RenderPayload) -> None:
    check_payload(payload)
    plain = payload_to_json(payload)
    assert list(plain)[:2] == ["kind", "version"]
    assert payload_from_json(json.loads(json.dumps(plain, allow_nan=False))) == payload


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (replace(GRID, rows=3), r"grid\.cells: expected 3 tuples of 3"),
        (replace(GRID, cells=((0, 0, 2), (0, 0, 0))), r"grid\.cells: expected 0 to 1 \(got 2\)"),
        (replace(GRID, items=(GridItem(name="agent", row=2, column=0),)), r"grid\.items\[0\]: expected a cell"),
        (replace(GRID, items=(GridItem(name="agent", row=0, column=0, facing="north"),)), r"items\[0\]\.facing"),
        (replace(GRID, walls=((0, 0, "west"),)), r"grid\.walls\[0\]"),
        (replace(GRID, items=[]), r"grid\.items: expected a tuple"),
        (replace(GRID, facts={"x": float("nan")}), r"grid\.facts\['x'\]: expected finite"),
        (replace(GRID, facts={"x": [1]}), r"grid\.facts\['x'\]"),
        (replace(GRID, rows=2.0), r"grid\.rows: expected int"),
        (replace(RGB, frame="depth"), r"rgb\.frame: expected observation or render"),
        (replace(RGB, t="a path"), r"rgb\.t"),
        (replace(GRAPH, edges=(GraphEdge(source="a", target="c"),)), r"graph\.edges\[0\].*\['c'\]"),
        (replace(GRAPH, nodes=(GraphNode(id="a"), GraphNode(id="a"))), r"graph\.nodes: expected each id once"),
        (replace(TEXT, lines=("a\nb",)), r"text\.lines\[0\]: expected printable"),
        ({"kind": "text"}, r"expected one of GridPayload.*got dict"),
    ],
)
def test_what_cannot_be_shown_is_refused(payload: Any, complaint: str) -> None:
    with pytest.raises(SchemaMismatch, match=complaint):
        check_payload(payload)


@pytest.mark.parametrize(
    ("value", "kind", "complaint"),
    [
        ({"kind": "video"}, SchemaError, "kind must be one of grid, rgb, graph, text"),
        (None, SchemaError, "kind must be one of"),
        ({**payload_to_json(TEXT), "version": 2}, SchemaError, "version 2 cannot be read, only 1 to 1"),
        ({**payload_to_json(TEXT), "path": "x.png"}, SchemaMismatch, "unknown field 'path'"),
        ({"kind": "text", "version": 1}, SchemaMismatch, "a field is missing, of lines"),
        (
            {**payload_to_json(GRID), "items": [{"name": "agent"}]},
            SchemaMismatch,
            r"grid\.items\[0\]: a field is missing",
        ),
    ],
)
def test_json_that_is_none_of_ours(value: Any, kind: type[Exception], complaint: str) -> None:
    with pytest.raises(kind, match=complaint):
        payload_from_json(value)


def test_the_table_has_every_field_once() -> None:
    names = [(owner, name) for owner, name, _, _ in FIELDS]
    assert len(set(names)) == len(names)
    assert {owner for owner, *_ in FIELDS} == {*PAYLOADS, "item", "node", "edge"}
    assert all(meaning for *_, meaning in FIELDS)


def test_the_page_has_this_table() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "adapters.md").read_text().splitlines()
    start = page.index("| of | field | type | meaning |") + 2
    rows = [f"| {owner} | `{name}` | {kind.replace('|', 'or')} | {meaning} |" for owner, name, kind, meaning in FIELDS]
    assert page[start : start + len(rows)] == rows
    assert page[start + len(rows)] == ""
