"""A program that is not there is refused before a run begins."""

from pathlib import Path

import pytest

from rolltape.actors.external_run import run_program
from rolltape.actors.program_path import check_program
from rolltape.schema.errors import ConfigError
from rolltape.scripts.cli import main
from rolltape.storage.configuration import configured_by


def test_programs_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("#!/bin/sh\n")
    (tmp_path / "here").chmod(0o755)
    check_program("sh", str(tmp_path), {"PATH": "/bin:/usr/bin"})
    check_program("/bin/sh", str(tmp_path), {})
    check_program("./here", str(tmp_path), {"PATH": ""})
    check_program("here", "/", {"PATH": str(tmp_path)})


def test_programs_that_are_not(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("print('hello')\n")
    (tmp_path / "notes").write_text("print('hello')\n")
    for name, path, said in [
        ("sh", str(tmp_path), r"'sh' cannot be started: there is no such program on the PATH\.$"),
        ("./gone", "/bin", rf"there is no {tmp_path}/gone\.$"),
        ("train.py", "/bin", r"no such program on the PATH\. For the script: `rolltape run -- python train"),
        ("./train.py", "/bin", r"train\.py is no program that may be executed\. For the script: "),
        ("notes", "/bin", r"no such program on the PATH\.$"),
        ("", "/bin", "the program's name is empty"),
    ]:
        with pytest.raises(ConfigError, match=said):
            check_program(name, str(tmp_path), {"PATH": path})


def test_no_run_begins_and_ray_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match="no such program on the PATH"):
        run_program(["nosuchprog"], configured_by("tests", None, None, lake=tmp_path / "lake"))
    assert not (tmp_path / "lake" / "runs").exists()


@pytest.mark.parametrize("elsewhere", ["RAY_ADDRESS", "ROLLTAPE__SETTINGS"])
def test_a_check_looks_for_the_program(
    elsewhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It said that all was right of a program that nobody has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["run", "--check", "--", "nosuchprog"])
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said.startswith("rolltape: run: 'nosuchprog' cannot be started: there is no such program on the PATH.")
    assert said.count("\n") == 1
    monkeypatch.setenv(elsewhere, "10.0.0.1:6379" if elsewhere == "RAY_ADDRESS" else "{}")
    with pytest.raises(SystemExit) as ended:
        main(["run", "--check", "--", "nosuchprog"])
    assert not ended.value.code, "another machine may have it"
