"""The tree itself: every value explains itself, and what viewers set cannot reach what is recorded."""

import ast
import inspect
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from rolltape.schema import config, config_live, config_ui
from rolltape.schema.config import RecordConfig
from rolltape.schema.config_base import Frozen, Risk, Setting, settings_of
from rolltape.schema.config_tree import Config

ROOT = Path(__file__).parents[2]
SETTINGS = list(settings_of(Config))
WITHOUT_UNIT = {"durable.seed"}
"""A number that measures nothing."""


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.path)
def test_every_setting_has_a_range_a_unit_and_a_reason(setting: Setting) -> None:
    assert len(setting.reason.split()) >= 5, "the docstring of a field says what it is and why its default is that"
    assert setting.allowed
    kind = setting.field.annotation
    if kind in (int, float) and setting.path not in WITHOUT_UNIT:
        assert setting.unit
        assert "≥" in setting.allowed or ">" in setting.allowed, "a lower limit"
        assert "≤" in setting.allowed or "<" in setting.allowed, "an upper limit"


def test_defaults_are_allowed_and_never_risky() -> None:
    assert Config().durable == RecordConfig()
    assert [setting.path for setting in SETTINGS if setting.risk_of(setting.default)] == []


def test_nothing_changes_once_it_is_made() -> None:
    with pytest.raises(ValidationError):
        Config().durable.commit.max_age_s = 2.0  # type: ignore[misc]


def test_what_is_shown_and_what_is_recorded_do_not_know_each_other() -> None:
    """`durable` is all that producers and writers get, so no field of `ui_controls` or `live` can be on their way."""
    for module, others in ((config, (config_ui, config_live)), (config_ui, (config,)), (config_live, (config,))):
        names = {other.__name__.rpartition(".")[2] for other in others}
        used = {
            node.module
            for node in ast.walk(ast.parse(inspect.getsource(module)))
            if isinstance(node, ast.ImportFrom) and node.module
        }
        assert names & used == set()
    for name in ("producer", "writer", "env_worker", "single_rows", "vector_rows", "recording"):
        source = (ROOT / "actors" / f"{name}.py").read_text()
        assert "config_ui" not in source and "ui_controls" not in source


def test_json_schema_carries_units_and_risks() -> None:
    commit = Config.model_json_schema()["$defs"]["CommitConfig"]["properties"]["max_age_s"]
    assert commit["unit"] == "s"
    assert commit["exclusiveMinimum"] == 0 and commit["maximum"] == 60
    assert [risk["when"] for risk in commit["risks"]] == ["below 0.1", "above 5"]
    assert "crash bound" in commit["description"]


def test_risks() -> None:
    risk = Risk("it costs", below=2, above=10)
    assert [risk.applies(value) for value in (1, 2, 10, 11)] == [True, False, False, True]
    assert risk.bounds == "below 2 or above 10"
    assert Risk("x", equal="process").applies("process") and not Risk("x", equal="process").applies("machine")


@pytest.mark.parametrize(
    ("given", "age"),
    [({}, 0.5), ({"commit": {"max_age_s": 0.4}}, 0.25), ({"commit": {"max_age_s": 3.0}}, 0.5)],
)
def test_quick_commits_get_quick_fragments(given: dict, age: float) -> None:
    assert RecordConfig.of(**given).fragment.max_age_s == pytest.approx(age)


def test_a_fragment_that_was_given_is_left_alone() -> None:
    assert RecordConfig.of(commit={"max_age_s": 0.1}, fragment={"max_age_s": 0.5}).fragment.max_age_s == 0.5


def test_a_cap_is_twice_the_credits() -> None:
    assert Config().live.max_credits == 400
    assert Config.model_validate({"live": {"credits": 50}}).live.max_credits == 100
    with pytest.raises(ValidationError, match="at least credits"):
        Config.model_validate({"live": {"credits": 50, "max_credits": 20}})


class Inner(Frozen):
    """For the tests of docstrings."""

    first: int = 1
    """What the first
    is for."""
    silent: int = 2


class Outer(Inner):
    """Has what its base has."""

    second: Annotated[int, Field(description="Said in the field.")] = 3
    """Not this."""
    inner: Inner = Inner()
    """A section."""


def test_docstrings_are_the_descriptions() -> None:
    found = {setting.path: setting.reason for setting in settings_of(Outer)}
    assert found == {
        "first": "What the first is for.",
        "silent": "",
        "second": "Said in the field.",
        "inner.first": "What the first is for.",
        "inner.silent": "",
    }
    schema = Outer.model_json_schema()
    said = {name: field.get("description") for name, field in schema["properties"].items()}
    assert said == {
        "first": "What the first\nis for.", "silent": None, "second": "Said in the field.", "inner": "A section."
    }
    assert schema["$defs"]["Inner"]["properties"]["first"]["description"] == "What the first\nis for."


def test_a_model_without_its_source() -> None:
    made: dict[str, Any] = {"Frozen": Frozen, "__name__": "nowhere"}
    exec("class Shell(Frozen):\n    a: int = 1\n    'said'\n", made)
    (setting,) = settings_of(made["Shell"])
    assert setting.reason == ""
