"""The catalogue holds: codes, levels, components; and whatever the packages log is in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from rolltape.schema import log_codes
from rolltape.schema.errors import ConfigError
from rolltape.schema.log_codes import CATALOGUE, CODE, LEVELS, LogCatalogue, LogCode

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("schema", "storage", "actors", "dashboards", "scripts", "rolltape")
MACHINERY = {"schema/log_source.py", "schema/log_policy.py", "schema/log_forms.py", "actors/on_ray/cluster.py"}
"""Where `logging` itself is used: to carry structured records, and to keep others quiet."""
OURS = {name: value for name, value in vars(log_codes).items() if isinstance(value, LogCode)}
AREAS = {
    "logging": 0, "run": 1, "worker": 2, "writer": 3, "backpressure": 4, "program": 5,
    "diagnostics": 6, "schema": 7,
}  # fmt: skip


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def emits(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit":
            yield node


def test_codes_levels_and_components_hold() -> None:
    for entry in OURS.values():
        assert CODE.fullmatch(entry.code)
        assert entry.level in LEVELS
        number = int(entry.code[3:])
        assert number < 10_000, "five digits are for plug-ins"
        assert number // 1000 == AREAS[entry.component], f"{entry.code} is not of {entry.component}'s area"
        assert entry.action.endswith("."), entry.code
    assert len({entry.code for entry in OURS.values()}) == len(OURS)
    assert {CATALOGUE.by_code(entry.code) for entry in OURS.values()} == set(OURS.values())


def test_every_emit_site_names_a_code_of_the_table() -> None:
    wrong, used = [], set()
    for name, tree in sources():
        if name in MACHINERY or name == "schema/log_codes.py":  # where all of them are declared
            continue
        used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & set(OURS)
        for call in emits(tree):
            first = call.args[0] if call.args else None
            code = first.attr if isinstance(first, ast.Attribute) else getattr(first, "id", None)
            if code not in OURS:
                wrong.append(f"{name}:{call.lineno} emits {ast.unparse(first) if first else 'nothing'}")
                continue
            used.add(code)
            given = {keyword.arg for keyword in call.keywords}
            if None not in given and not set(OURS[code].fields) <= given:
                wrong.append(f"{name}:{call.lineno} gives {OURS[code].code} no {set(OURS[code].fields) - given}")
        used |= {
            node.attr for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "log_codes"
        }  # fmt: skip
    assert wrong == []
    unused = set(OURS) - used - {"UNCATALOGUED", "PROGRAM_SAID"}  # records of plug-ins and lines of programs name these
    assert unused == set(), "codes that nobody emits are taken out"


def test_nothing_else_logs() -> None:
    """A bare `logger.warning(…)` has no code, no run and no environment."""
    found = []
    for name, tree in sources():
        if name in MACHINERY or name.startswith("scripts/bench"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("logging.getLogger", "getLogger"):
                found.append(f"{name}:{node.lineno}")
    assert found == []


def entry(code: str = "LOG90001", component: str = "robots", **values: object) -> LogCode:
    given: dict[str, object] = {
        "level": "info",
        "subcomponent": "arm",
        "message": "moved {joint}",
        "action": "Nothing.",
    }
    return LogCode(code, component=component, **(given | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"code": "LOG"}, "code: expected LOG and one to nine digits, got 'LOG'"),
        ({"code": "log12"}, "code: expected LOG"),
        ({"code": "LOG1234567890"}, "code: expected LOG"),
        ({"code": "LOG१"}, "code: expected LOG"),
        ({"level": "fatal"}, "LOG90001.level: expected one of debug, info, warning, error, got 'fatal'"),
        ({"component": "Robots"}, "LOG90001.component: expected a lower-case word, got 'Robots'"),
        ({"subcomponent": ""}, "LOG90001.subcomponent: expected a lower-case word"),
        ({"tags": ("a b",)}, "LOG90001.tags.0: expected a lower-case word, got 'a b'"),
        ({"message": "  "}, "LOG90001.message: expected one line of text"),
        ({"message": "two\nlines"}, "LOG90001.message: expected one line"),
        ({"message": "open {"}, "LOG90001.message: "),
        ({"message": "{0}"}, "a place is a plain name such as {error}, got '0'"),
        ({"action": ""}, "LOG90001.action: expected one line of text"),
    ],
)
def test_what_is_no_entry(values: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        entry(**values)  # type: ignore[arg-type]
    assert told in str(error.value)


def test_registration_of_a_plug_in() -> None:
    mine = LogCatalogue()
    mine.declare("LOG1", "info", "run", "start", "Started.", "Nothing.")
    mine.register(entry(), entry("LOG90002", subcomponent="leg"))
    mine.register(entry())  # the same again
    assert mine.components() == {"robots": ("arm", "leg"), "run": ("start",)}
    assert [one.code for one in mine] == ["LOG1", "LOG90001", "LOG90002"]
    assert mine.by_code("LOG90001") == entry()
    assert mine.by_code("LOG3") is None
    with pytest.raises(ConfigError, match=r"LOG90001 is robots\.arm: 'moved \{joint\}'; take another number"):
        mine.register(entry(message="fell"))
    with pytest.raises(ConfigError, match="'run' is Rolltape's own"):
        mine.register(entry("LOG90003", component="run"))
    with pytest.raises(ConfigError, match="LOG90004 come twice"):
        mine.register(entry("LOG90004"), entry("LOG90004", message="other"))
    assert len(mine) == 3, "all or none"


def test_snapshot_has_everything() -> None:
    (one,) = [row for row in log_codes.snapshot() if row["code"] == "LOG3002"]
    assert one == {
        "code": "LOG3002",
        "level": "warning",
        "severity": 30,
        "component": "writer",
        "subcomponent": "storage",
        "message": "{error} It is tried again for {give_up_s:g} s.",
        "action": "Make room, or bring the disk back; producers wait meanwhile and nothing is lost.",
        "tags": ["disk"],
    }
    assert len(log_codes.snapshot()) == len(CATALOGUE)


def test_messages_are_rendered_whatever_is_given() -> None:
    code = entry(message="{a:g} of {b}")
    assert code.fields == ("a", "b")
    assert code.render({"a": 2.0, "b": "x"}) == "2 of x"
    assert code.render({"a": "much", "b": None}) == "much of None"
    assert code.render({"b": 1}) == "{a} of 1"
    assert code.render({}) == "{a} of {b}"
