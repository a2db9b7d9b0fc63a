"""Precedence, provenance and refusals, without Ray."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.schema.config import RecordConfig
from rolltape.schema.config_base import settings_of
from rolltape.schema.config_presets import FAMILIES, GOOD, MINIMUM, MORE_THAN_ENOUGH, Host, Preset, profile_of
from rolltape.schema.config_provenance import LEGEND, Given, Layer, Origin, Resolved
from rolltape.schema.config_resolve import resolve
from rolltape.schema.config_sources import (
    assignments,
    dotenv_layer,
    environment_layer,
    file_layer,
    options_layer,
    project_files,
    python_layer,
    variable_of,
)
from rolltape.schema.config_tree import Config
from rolltape.schema.errors import ConfigError, ConfigWarning
from rolltape.storage import configuration, host
from rolltape.storage.configuration import configured, configured_by

AGE = "durable.commit.max_age_s"
SETTINGS = list(settings_of(Config))


@pytest.fixture(autouse=True)
def _a_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(configuration, "host_of", lambda _lake: Host(4, 16 << 30, 200e6))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def read(folder: Path, environ: Mapping[str, str] | None = None, **kwargs: Any) -> Resolved:
    return configured(folder=folder, environ=environ or {}, **kwargs)


def refusal(folder: Path, environ: Mapping[str, str] | None = None, **kwargs: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        read(folder, environ, **kwargs)
    return str(refused.value)


# ---- precedence ----


def test_each_source_beats_those_before_it(tmp_path: Path) -> None:
    def now(source: str, value: float, **kwargs: Any) -> None:
        found = read(tmp_path, environ, **kwargs)
        assert (str(found.origin(AGE)), found.value(AGE)) == (source, value)

    environ: dict[str, str] = {}
    now("default", 0.8)
    write(
        tmp_path / "home/rolltape/presets/mine.toml",
        f'[preset]\nname = "mine"\nmatches = ["X-*"]\n[rolltape.durable.commit]\nmax_age_s = 0.71\n[evidence]\nby = {1}\n',
    )
    now("preset:mine", 0.71, env_id="X-v0")
    write(tmp_path / "pyproject.toml", "[tool.rolltape.durable.commit]\nmax_age_s = 0.72")
    now("config:durable.commit", 0.72, env_id="X-v0")
    write(tmp_path / "rolltape.toml", "[durable.commit]\nmax_age_s = 0.73")
    now("config:durable.commit", 0.73, env_id="X-v0")
    named = write(tmp_path / "other" / "a.toml", "[rolltape.durable.commit]\nmax_age_s = 0.74")
    now("config:durable.commit", 0.74, config_file=named)
    write(tmp_path / ".env", "OTHERS=1\nROLLTAPE_DURABLE__COMMIT__MAX_AGE_S=0.75\n")
    now("env:ROLLTAPE_DURABLE__COMMIT__MAX_AGE_S", 0.75, config_file=named)
    environ = {"ROLLTAPE_DURABLE__COMMIT__MAX_AGE_S": "0.76", "ROLLTAPE_CONFIG": str(named)}
    now("env:ROLLTAPE_DURABLE__COMMIT__MAX_AGE_S", 0.76)
    options = {AGE: Given(0.77, Origin("cli", "--commit-age-s"))}
    now("cli", 0.77, options=options)
    now("override", 0.78, options=options, override={"durable": {"commit": {"max_age_s": 0.78}}})
    found = read(tmp_path, environ, env_id="X-v0", options=options)
    assert [str(given.origin) for given in found.ladder(AGE)] == [
        "default",
        "preset:mine",
        "config:durable.commit",
        "config:durable.commit",
        "config:durable.commit",
        "env:ROLLTAPE_DURABLE__COMMIT__MAX_AGE_S",
        "env:ROLLTAPE_DURABLE__COMMIT__MAX_AGE_S",
        "cli",
    ]
    assert found.evidence["preset"]["by"] == 1


LAYERS = ("config:durable", "env:X", "cli", "override")


@given(st.lists(st.dictionaries(st.sampled_from([s.path for s in SETTINGS]), st.just(None)), max_size=4))
def test_the_last_that_speaks_of_a_key_is_its_source(spoken: list[dict[str, None]]) -> None:
    """Whatever was said by whom: every value has a source, and it is the strongest that said something."""
    usual = dict(_leaves(Config()))
    layers = [
        Layer(name, {path: Given(usual[path], Origin(name)) for path in said})
        for name, said in zip(LAYERS, spoken, strict=False)
    ]
    found = resolve(layers)
    assert set(found.origins) == set(usual)
    for path in usual:
        last = next((layer.name for layer in reversed(layers) if path in layer.values), "default")
        assert str(found.origins[path]) == last
    assert found.config == Config()


def _leaves(config: Config) -> list[tuple[str, Any]]:
    from rolltape.schema.config_provenance import leaves

    return list(leaves(config))


def test_files_are_those_of_the_nearest_folder_upwards(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert project_files(inner) == [] or tmp_path not in project_files(inner)[0].parents
    write(tmp_path / "rolltape.toml", "")
    assert project_files(inner) == [tmp_path / "rolltape.toml"]
    write(tmp_path / "a" / "pyproject.toml", "")
    assert project_files(inner) == [tmp_path / "a" / "pyproject.toml"]
    (inner / ".git").mkdir()
    assert project_files(inner) == []


@pytest.mark.parametrize(
    "text", ["[tool.rolltape]\nlake = 'x'", "[rolltape]\nlake = 'x'", "lake = 'x'"], ids=["tool", "rolltape", "plain"]
)
def test_the_tables_of_a_file(text: str, tmp_path: Path) -> None:
    layer = file_layer(write(tmp_path / "rolltape.toml", text), shown="rolltape.toml")
    assert layer.values == {"lake": Given("x", Origin("config:rolltape", "rolltape.toml"))}


def test_a_project_file_without_settings_says_nothing(tmp_path: Path) -> None:
    assert not file_layer(write(tmp_path / "pyproject.toml", "[project]\nname = 'x'\n[tool.ruff]\nline-length = 3"))


# ---- forms of values ----


def test_short_forms_lists_and_sections_in_variables() -> None:
    found = resolve(
        [
            environment_layer(
                {
                    "ROLLTAPE_DURABLE__FRAMES": "render:3",
                    "ROLLTAPE_UI_CONTROLS__RENDERERS": "grid, text",
                    "ROLLTAPE_DURABLE__COMMIT": '{"max_age_s": 0.7, "durability": "process"}',
                    "ROLLTAPE_LOGGING__VERBOSE": "true",
                    "ROLLTAPE_LAKE": "",
                    "ROLLTAPE__RUN": "wiring",
                    "OTHER": "1",
                }
            )
        ]
    )
    assert found.config.durable.frames.model_dump() == {"policy": "render", "every": 3}
    assert found.config.ui_controls.renderers == ("grid", "text")
    assert found.config.durable.commit.durability == "process"
    assert str(found.origin("durable.commit.durability")) == "env:ROLLTAPE_DURABLE__COMMIT"
    assert found.config.logging.verbose is True
    assert str(found.origin("lake")) == "default"


def test_assignments() -> None:
    found = resolve(
        [options_layer(assignments(["durable.frames=render:2", "ui_controls.renderers=text", "durable.seed = 7"]))]
    )
    assert found.config.durable.frames.every == 2
    assert found.config.ui_controls.renderers == ("text",)
    assert found.config.durable.seed == 7
    assert found.origin("durable.seed") == Origin("cli", "--set durable.seed = 7")


@pytest.mark.parametrize("text", ["seed", "=3", "durable.sed=1", "seed=1"])
def test_assignments_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"KEY=VALUE|unknown key"):
        assignments([text])


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.path)
def test_every_key_has_a_variable_that_reaches_it(setting: Any) -> None:
    value = dict(_leaves(Config()))[setting.path]
    text = json.dumps(list(value)) if isinstance(value, tuple) else str(value)
    found = resolve([environment_layer({variable_of(setting.path): text or " "})])
    assert str(found.origin(setting.path)) == f"env:{variable_of(setting.path)}"


# ---- mutations ----


def test_derived_and_runtime_values_say_so() -> None:
    found = resolve([python_layer({"durable": {"commit": {"max_age_s": 0.4}}, "live": {"credits": 50}}, "Fleet(…)")])
    assert str(found.origin("durable.fragment.max_age_s")) == "default (derived)"
    assert str(found.origin("live.max_credits")) == "default (derived)"
    assert found.value("live.max_credits") == 100
    started = found.settled({"fleet.num_workers": 3, "durable.seed": 0})
    assert (started.value("fleet.num_workers"), str(started.origin("fleet.num_workers"))) == (3, "default (runtime)")
    assert str(started.origin("durable.seed")) == "default", "a value that did not change keeps its source"
    assert found.value("fleet.num_workers") == 0
    row = next(row for row in started.table() if row["key"] == "fleet.num_workers")
    assert row == {
        "key": "fleet.num_workers",
        "value": 3,
        "unit": "processes",
        "default": 0,
        "source": "default",
        "place": "",
        "mutation": "runtime",
    }
    assert json.loads(json.dumps(started.table())) == started.table()
    assert len(started.table()) == len(SETTINGS)


def test_a_text_that_is_read_as_a_number_is_not_derived() -> None:
    found = resolve([environment_layer({"ROLLTAPE_DURABLE__SEED": "7"})])
    assert (found.value("durable.seed"), found.origin("durable.seed").mutation) == (7, "")


# ---- refusals ----


@pytest.mark.parametrize(
    ("file", "environ", "override", "said"),
    [
        (
            "[durable.commit]\nmax_age_s = 99",
            {},
            {},
            ["durable.commit.max_age_s: 99", "> 0 and ≤ 60 s", "config:durable.commit in rolltape.toml"],
        ),
        (
            "",
            {"ROLLTAPE_DURABLE__COMMIT__DURABILITY": "proces"},
            {},
            ["'proces'", "'machine' or 'process'", "env:ROLLTAPE_DURABLE__COMMIT__DURABILITY", "Did you mean process?"],
        ),
        ("[durable.comit]\nmax_age_s = 1", {}, {}, ["durable.comit", "unknown key", "Did you mean durable.commit"]),
        ("max_age_s = 1", {}, {}, ["unknown key", "durable.commit.max_age_s"]),
        ("", {"ROLLTAPE_DURABEL__SEED": "1"}, {}, ["Did you mean ROLLTAPE_DURABLE__SEED?", "'1'"]),
        ("", {"ROLLTAPE_SEED": "1"}, {}, ["ROLLTAPE_DURABLE__SEED"]),
        ("", {"ROLLTAPE_DURABLE": "7"}, {}, ["durable: 7 is no section", "env:ROLLTAPE_DURABLE"]),
        ("", {}, {"durable": {"seed": "x"}}, ["durable.seed: 'x'", "a whole number ≥ 0", "override in Python"]),
        ("preset = 'atri'", {}, {}, ["preset: 'atri'", "Did you mean atari?", "config:rolltape in rolltape.toml"]),
        ("profile = 'god'", {}, {}, ["profile: 'god'", "'good'", "Did you mean good?"]),
        ("[ui_controls]\nrenderers = ['rgb', 'grud']", {}, {}, ["ui_controls.renderers: 'grud'", "Did you mean grid?"]),
        ("durable = 3", {}, {}, ["durable: 3 is no section of settings"]),
        ("[durable.commit]\nmax_age_s = 50", {}, {}, ["must be well below", "durable.commit.max_age_s from config:"]),
        ("x = ", {}, {}, ["rolltape.toml is not TOML: Invalid value"]),
        ("[rolltape]\n[tool.rolltape]", {}, {}, ["keep one of them"]),
    ],
)
def test_refusals_name_key_value_range_and_place(
    file: str, environ: dict[str, str], override: dict[str, Any], said: list[str], tmp_path: Path
) -> None:
    write(tmp_path / "rolltape.toml", file)
    message = refusal(tmp_path, environ, override=override)
    assert [part for part in said if part not in message] == []


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    write(tmp_path / "rolltape.toml", "[durable]\nsed = 1\nseed = -1\n[live]\ncredits = 0")
    assert len(refusal(tmp_path).splitlines()) == 3


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    assert "no.toml: there is no such file" in refusal(tmp_path, config_file=Path("no.toml"))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.path)
def test_what_is_out_of_range_is_refused_with_its_range(setting: Any) -> None:
    bounds = {
        name: getattr(mark, name) for mark in setting.field.metadata for name in ("le", "lt") if hasattr(mark, name)
    }
    wrong = next(iter(bounds.values())) + 1 if bounds else object()
    if setting.choices:
        wrong = "nonsense"
    with pytest.raises(ConfigError) as refused:
        resolve([Layer("cli", {setting.path: Given(wrong, Origin("cli", "--x"))})])
    assert f"{setting.path}: " in str(refused.value)
    assert setting.allowed in str(refused.value)
    assert "from cli in --x" in str(refused.value)


# ---- risks ----


def test_risky_values_warn_with_what_they_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.warns(ConfigWarning, match=r"durable.commit.max_age_s = 0.05 s is allowed, but every commit costs"):
        configured_by("record(…)", None, commit={"max_age_s": 0.05})
    assert [risk.path for risk in read(tmp_path, {variable_of("durable.commit.durability"): "process"}).risks] == [
        "durable.commit.durability"
    ]
    assert read(tmp_path).risks == []


# ---- Python ----


def test_keywords_of_python_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = configured_by(
        "Fleet(…)",
        None,
        lake=None,
        frames="render:2",
        commit=RecordConfig.of(commit={"max_age_s": 0.7}).commit,
        resources={"gpus_per_worker": 0.5},
        logging={"level": "debug"},
        keys={"fleet.num_envs": None, "resources.cpus_per_worker": 2},
    )
    assert {row["key"]: row["value"] for row in found.changed()} == {
        "durable.frames.policy": "render",
        "durable.frames.every": 2,
        AGE: 0.7,
        "durable.fragment.max_age_s": pytest.approx(0.4375),
        "resources.cpus_per_worker": 2,
        "resources.gpus_per_worker": 0.5,
        "logging.level": "debug",
    }
    assert configured_by("Fleet(…)", None, found) is found
    with pytest.raises(ConfigError, match="give either settings or lake"):
        configured_by("Fleet(…)", None, found, lake="x")
    with pytest.raises(ConfigError, match=r"comit.*unknown key.*Did you mean durable.commit"):
        configured_by("Fleet(…)", None, comit={})
    with pytest.raises(ConfigError, match=r"resources: 3 is no section of settings \(from override in Fleet"):
        configured_by("Fleet(…)", None, resources=3)


# ---- presets and profiles ----


@pytest.mark.parametrize(
    ("env_id", "family"),
    [
        ("CartPole-v1", "classic-control"),
        ("ALE/Breakout-v5", "atari"),
        ("CarRacing-v3", "box2d"),
        ("FrozenLake8x8-v1", "toy-text"),
        ("MiniGrid-Empty-5x5-v0", "minigrid"),
        ("Humanoid-v5", "mujoco"),
        ("my.robots:Arm-v0", None),
    ],
)
def test_families(env_id: str, family: str | None, tmp_path: Path) -> None:
    found = read(tmp_path, env_id=env_id)
    assert found.evidence.get("preset", {}).get("name") == family


def test_presets_of_this_machine_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "host_name", lambda: "here")
    for name, where in (("a", "elsewhere"), ("b", "here")):
        write(
            tmp_path / f"home/rolltape/presets/{name}.toml",
            f'[preset]\nname = "{name}"\nmatches = ["CartPole-v1"]\nhost = "{where}"\n[rolltape.durable]\nseed = 5\n',
        )
    assert str(read(tmp_path, env_id="CartPole-v1").origin("durable.seed")) == "preset:b"
    assert str(read(tmp_path, env_id="Acrobot-v1").origin("durable.seed")) == "default"
    assert str(read(tmp_path, override={"preset": "a"}).origin("durable.seed")) == "preset:a"
    assert str(read(tmp_path, env_id="CartPole-v1", override={"preset": "none"}).origin("durable.seed")) == "default"


def test_a_file_that_is_no_preset_is_named(tmp_path: Path) -> None:
    write(tmp_path / "home/rolltape/presets/x.toml", "[preset]\nname = 'x'")
    assert "x.toml is no preset" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("machine", "profile"),
    [
        (Host(1, 64 << 30, 1e9), MINIMUM),
        (Host(8, 2 << 30, 1e9), MINIMUM),
        (Host(8, 16 << 30, 20e6), MINIMUM),
        (Host(2, 8 << 30, None), GOOD),
        (Host(64, 256 << 30, 100e6), GOOD),
        (Host(64, 256 << 30, None), GOOD),
        (Host(16, 32 << 30, 500e6), MORE_THAN_ENOUGH),
    ],
)
def test_profiles(machine: Host, profile: Any) -> None:
    assert profile_of(machine) is profile


@pytest.mark.parametrize("shipped", [*FAMILIES, MINIMUM, GOOD, MORE_THAN_ENOUGH], ids=lambda p: p.name)
def test_what_comes_with_rolltape_is_allowed(shipped: Any) -> None:
    found = resolve([shipped.layer()])
    assert found.risks == []
    kind = "preset" if isinstance(shipped, Preset) else "profile"
    assert {row["source"] for row in found.changed() if not row["mutation"]} <= {f"{kind}:{shipped.name}"}


def test_the_disk_is_measured_once(tmp_path: Path) -> None:
    remembered = tmp_path / "home" / "disks.json"
    rate = host.disk_bytes_s(tmp_path / "not" / "there", remembered)
    assert rate is not None and rate > 0
    assert host.disk_bytes_s(tmp_path, remembered) == rate
    assert [path.name for path in tmp_path.iterdir()] == ["home"], "nothing is left where the lake will be"


def test_a_disk_that_cannot_be_written_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path) -> float:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(host, "measure_disk", full)
    assert host.disk_bytes_s(tmp_path, tmp_path / "disks.json") is None


def test_the_legend_has_every_source() -> None:
    assert [name.partition(":")[0].strip("()") for name, _ in LEGEND] == [
        "default",
        "profile",
        "preset",
        "config",
        "env",
        "cli",
        "override",
        "derived",
        "runtime",
    ]


def test_a_variable_with_an_underscore_too_many(tmp_path: Path) -> None:
    """It was taken for one of those by which a program finds its run, and said nothing."""
    said = refusal(tmp_path, {"ROLLTAPE__DURABLE__COMMIT__MAX_AGE_S": "-1"})
    assert "Did you mean ROLLTAPE_DURABLE__COMMIT__MAX_AGE_S" in said
    assert read(tmp_path, {"ROLLTAPE__RUN": "x", "ROLLTAPE__LAKE": "elsewhere"}).config.lake == Config().lake


def test_a_dotenv_file_in_disorder(tmp_path: Path) -> None:
    assert not dotenv_layer(tmp_path / ".env")
    with pytest.raises(ConfigError, match=r"ROLLTAPE_SEDE = '1': no setting has this variable in \.env"):
        dotenv_layer(write(tmp_path / ".env", "export ROLLTAPE_SEDE='1'"))
