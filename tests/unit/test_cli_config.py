"""`rolltape config …`, and that a wrong setting is refused before anything heavy is loaded."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rolltape.schema.config_base import settings_of
from rolltape.schema.config_presets import Host
from rolltape.schema.config_tree import Config
from rolltape.scripts.cli.config_diff import differences
from rolltape.storage import configuration
from tests.command_line import exit_code

AGE = "durable.commit.max_age_s"
HEAVY = {"ray", "duckdb", "pyarrow", "gymnasium", "numpy"}


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(configuration, "host_of", lambda _lake: Host(4, 16 << 30, 200e6))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_show_has_every_value_with_its_source(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "rolltape.toml").write_text("[durable.commit]\nmax_age_s = 0.4\n")
    assert exit_code("config", "show", "--set", "durable.seed=7") == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == len(list(settings_of(Config)))
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in shown.splitlines()}
    assert lines[AGE].split() == ["0.4", "s", "config:durable.commit", "in", "rolltape.toml"]
    assert lines["durable.fragment.max_age_s"].split() == ["0.25", "s", "default", "(derived)"]
    assert lines["durable.seed"].split() == ["7", "cli", "in", "--set", "durable.seed=7"]
    assert lines["lake"].split() == ["lake", "default"]


def test_show_as_toml_is_read_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert exit_code("config", "show", "--format", "toml", "--set", "durable.seed=7", "--set", f"{AGE}=0.3") == 0
    (tmp_path / "again.toml").write_text(capsys.readouterr().out)
    assert tomllib.loads((tmp_path / "again.toml").read_text())["durable"]["seed"] == 7
    assert exit_code("config", "show", "--config", "again.toml", "--format", "json") == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows[AGE]["value"] == 0.3
    assert {row["place"] for row in rows.values()} == {"again.toml"}


def test_explain_tells_what_every_source_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rolltape.toml").write_text("[durable.commit]\nmax_age_s = 0.4\n")
    monkeypatch.setenv("ROLLTAPE_DURABLE__COMMIT__MAX_AGE_S", "0.3")
    assert exit_code("config", "show", "--explain", AGE, "--legend") == 0
    shown = capsys.readouterr().out
    ladder = shown.partition("the last one holds:")[2].partition("sources,")[0].split("\n")
    assert [line.split() for line in ladder if line.strip()] == [
        ["0.8", "default"],
        ["0.4", "config:durable.commit", "in", "rolltape.toml"],
        ["0.3", "env:ROLLTAPE_DURABLE__COMMIT__MAX_AGE_S"],
    ]
    assert "crash bound" in shown and "> 0 and ≤ 60 s" in shown and "above 5: it is what a crash may lose" in shown
    assert "(runtime)" in shown


@pytest.mark.parametrize("arguments", [["--explain", "durable.sed"], ["durable.sed"]])
def test_unknown_keys_are_answered_with_near_ones(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("config", "show", *arguments) == 1
    assert "Did you mean durable.seed" in capsys.readouterr().err


@pytest.mark.parametrize("changed", [[], ["--changed"]])
def test_a_section_that_is_none_is_answered_with_the_nearest(
    changed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("config", "show", "durable.comit", *changed) == 1
    assert "durable.comit: unknown key. Did you mean durable.commit" in capsys.readouterr().err


def test_a_folder_of_settings_is_no_file_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("config", "check", "--config", str(tmp_path)) == 2
    assert f"{tmp_path} is a folder; name a file of settings in it" in capsys.readouterr().err


def test_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert exit_code("config", "check") == 0
    assert "0 of" in capsys.readouterr().out
    (tmp_path / ".env").write_text("ROLLTAPE_DURABLE__COMMIT__DURABILITY=process\n")
    assert exit_code("config", "check") == 0
    assert "a power cut may lose what was acknowledged" in capsys.readouterr().err
    (tmp_path / ".env").write_text("ROLLTAPE_DURABLE__COMMIT__DURABILITY=sometimes\n")
    assert exit_code("config", "check") == 2
    assert "'machine' or 'process' (from env:ROLLTAPE_DURABLE__COMMIT__DURABILITY in .env)" in capsys.readouterr().err


def test_schema_is_a_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("config", "schema") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["additionalProperties"] is False
    assert set(found["properties"]) == set(Config.model_fields)


def test_presets_and_profiles_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("config", "presets") == 0
    shown = capsys.readouterr().out
    assert "atari: ALE/*" in shown and "minimum" in shown


def row(value: Any, source: str = "default") -> dict[str, Any]:
    return {"key": "a", "value": value, "unit": "s", "source": source, "mutation": ""}


def test_differences_are_of_values_not_of_sources() -> None:
    assert differences([row(1)], [row(1, "cli")]) == {}
    assert differences([row(1)], [row(2, "cli")]) == {"a": (row(1), row(2, "cli"))}
    assert differences([], [row(2)]) == {"a": (None, row(2))}


def test_the_lake_of_a_file_is_read_by_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rolltape.toml").write_text('lake = "elsewhere"\n')
    assert exit_code("runs") == 1
    assert "elsewhere" in capsys.readouterr().err
    monkeypatch.setenv("ROLLTAPE_LAKE", "of-the-environment")
    assert exit_code("runs") == 1
    assert "of-the-environment" in capsys.readouterr().err


def test_a_wrong_setting_is_refused_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "rolltape.toml").write_text("[durable.comit]\nmax_age_s = 1\n")
    program = (
        "import sys\nfrom rolltape.scripts.cli import main\n"
        "try:\n    main(['record', 'CartPole-v1', '--steps', '5'])\n"
        "except SystemExit as end:\n    print(end.code, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    code, *loaded = done.stdout.split()
    assert code == "2"
    assert {name.split(".")[0] for name in loaded} & HEAVY == set()
    assert "durable.comit" in done.stderr and "Did you mean durable.commit" in done.stderr
    assert "config:durable in rolltape.toml" in done.stderr
