import json
from pathlib import Path
from typing import Any

import pytest
import typer

from rolltape.scripts.cli.record import arguments_of, frames_of
from tests.command_line import exit_code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", {"policy": "auto"}),
        ("none", {"policy": "none"}),
        ("observation", {"policy": "observation"}),
        ("render", {"policy": "render"}),
        ("replay", {"policy": "replay"}),
        ("render:4", {"policy": "render", "every": 4}),
    ],
)
def test_frames(text: str, expected: dict[str, Any]) -> None:
    assert frames_of(text) == expected


@pytest.mark.parametrize("text", ["", "renders", "render:", "render:0", "render:-1", "render:x", "none:2", "Auto"])
def test_frames_that_are_no_policy(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="got"):
        frames_of(text)


def test_arguments_of_an_environment() -> None:
    given = ["frameskip=4", "obs_type=rgb", "mode=null", "full=true", "bounds=[0, 1.5]", 'name="4"', "empty=", "a=b=c"]
    assert arguments_of([*given, '{"nested": {"x": 1}, "frameskip": 5}']) == {
        "frameskip": 5,
        "obs_type": "rgb",
        "mode": None,
        "full": True,
        "bounds": [0, 1.5],
        "name": "4",
        "empty": "",
        "a": "b=c",
        "nested": {"x": 1},
    }
    assert arguments_of(None) == {}


@pytest.mark.parametrize("text", ["frameskip", "=4", "4=frameskip", "a-b=1", "{x}", "{"])
def test_arguments_that_are_none(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        arguments_of([text])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--steps"),
        (["--steps", "0"], "--steps"),
        (["--steps", "many"], "--steps"),
        (["--episodes", "-1"], "--episodes"),
        (["--steps", "1", "--envs", "0"], "--envs"),
        (["--steps", "1", "--envs", "2", "--workers", "3"], "--workers"),
        (["--steps", "1", "--seed", "-1"], "--seed"),
        (["--steps", "1", "--frames", "all"], "--frames"),
        (["--steps", "1", "--env-kwargs", "x"], "--env-kwargs"),
        (["--steps", "1", "--autoreset", "never"], "--autoreset"),
        (["--steps", "1", "--cpus-per-worker", "-1"], "--cpus-per-worker"),
        (["--steps", "1", "--fragment-age-s", "0"], "fragment.max_age_s"),
        (["--steps", "1", "--commit-age-s", "61"], "commit.max_age_s"),
        (["--steps", "1", "--give-up-s", "-2"], "budget.give_up_s"),
        (["--steps", "1", "--step", "1"], "--step"),
    ],
)
def test_wrong_usage(
    arguments: list[str],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code("record", "CartPole-v1", *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert named in shown.err and "Traceback" not in shown.err
    assert list(tmp_path.iterdir()) == []


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == 0
    assert capsys.readouterr().out.startswith("rolltape 0.")


def test_the_summary_as_json_when_nothing_began() -> None:
    from rolltape.scripts.cli.summary import as_json

    found = as_json(None, run_id=None, error="no room")
    assert json.loads(json.dumps(found)) == {"run_id": None, "status": "failed", "error": "no room"}


def test_the_lake_is_named_where_commands_would_read_another(monkeypatch: pytest.MonkeyPatch) -> None:
    from rolltape.scripts.cli.summary import lake_option

    monkeypatch.delenv("ROLLTAPE_LAKE", raising=False)
    assert lake_option(Path("lake")) == ""
    assert lake_option(Path("/data/my lake")) == " --lake '/data/my lake'"
    monkeypatch.setenv("ROLLTAPE_LAKE", "/data/lake")
    assert lake_option(Path("/data/lake")) == ""
    assert lake_option(Path("lake")) == " --lake lake"


@pytest.mark.parametrize(
    ("nbytes", "text"), [(0, "0.0 KiB"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 30, "3.00 GiB")]
)
def test_bytes_in_words(nbytes: int, text: str) -> None:
    from rolltape.scripts.cli.summary import mib

    assert mib(nbytes) == text
