"""What is shipped: the wheel holds every package, and no requirement names where it was downloaded from."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from rolltape.actors.compiled_rows import WHY_NOT, CompiledRows

ROOT = Path(__file__).parent.parent
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]


def run(*command: object, cwd: Path | None = None, **variables: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def build(work: Path, *which: str, **variables: str) -> Path:
    """The wheel of a copy of the sources: a build leaves traces in its own folder."""
    source = work / "source"
    for folder in {"rolltape", *(folder.split("/")[0] for folder in PACKAGES.values())}:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(
        *(
            sys.executable,
            "-m",
            "uv",
            "build",
            "--offline",
            "--no-build-isolation",
            "--python",
            sys.executable,
        ),
        *(*which, "--out-dir", work / "out", source),
        **variables,
    )
    (built,) = (work / "out").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sdist."""
    return build(tmp_path_factory.mktemp("dist"))


def test_wheel_holds_every_module(wheel: Path) -> None:
    expected = {
        f"{package.replace('.', '/')}/{file.name}"
        for package, folder in PACKAGES.items()
        for file in (ROOT / folder).glob("*.py")
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert expected - names == set()
    assert {"rolltape/py.typed", "rolltape/actors/_row.pyi", "rolltape/schema/_changes.pyi"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"rolltape"}, "nothing beside the one import name"


def test_installed_wheel_imports(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "uv", "venv", "--offline", "--python", sys.executable, venv)
    python = venv / "bin" / "python"
    run(sys.executable, "-m", "uv", "pip", "install", "--offline", "--no-deps", "--python", python, wheel)
    program = (
        "import importlib.util, rolltape\n"  # found, not imported: the environment has no dependencies
        f"for name in {sorted(PACKAGES)}: print(importlib.util.find_spec(name).origin)\n"
        "print(rolltape.__version__)"
    )
    *files, version = run(python, "-I", "-c", program, cwd=tmp_path).split("\n")[:-1]
    assert len(files) == len(PACKAGES)
    assert all(Path(file).is_relative_to(venv) for file in files)
    assert version in wheel.name
    assert (venv / "bin" / "rolltape").exists()


def compiled(wheel: Path) -> list[str]:
    libraries = re.compile(r".*/_(row|tape|film|values|changes)\.(?!pyi$).*")
    return [name for name in zipfile.ZipFile(wheel).namelist() if libraries.fullmatch(name)]


@pytest.mark.skipif(CompiledRows is None, reason=WHY_NOT)
def test_the_compiled_parts_are_for_all_later_versions_of_python(wheel: Path) -> None:
    libraries = compiled(wheel)
    assert len(libraries) == 3
    assert all(".abi3." in library for library in libraries)
    assert "-cp311-abi3-" in wheel.name


@pytest.mark.long
@pytest.mark.parametrize("variables", [{"CC": "/bin/false"}, {"ROLLTAPE_PURE": "1"}], ids=["no compiler", "asked for"])
def test_without_the_compiled_parts(tmp_path: Path, variables: dict[str, str]) -> None:
    wheel = build(tmp_path, "--wheel", **variables)
    assert compiled(wheel) == []
    assert ("-py3-none-any" in wheel.name) == ("ROLLTAPE_PURE" in variables)


HASHED = re.compile(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}")
LOCKED = sorted([*ROOT.glob("requirements/*"), *ROOT.glob("*lock*.json"), *ROOT.glob("dashboards/web/*lock*.json")])


@pytest.mark.parametrize("path", LOCKED, ids=lambda path: path.name)
def test_requirements_name_no_address(path: Path) -> None:
    address = re.compile(r"^.*(?:\w+://|--(?:extra-)?index|--find-links|\"resolved\":|\s@\s|^/).*$", re.M)
    found = address.findall(path.read_text())
    assert found == [], "what is installed is said by version and hash; where from is the machine's affair"


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements/*.txt")), ids=lambda path: path.name)
def test_requirements_are_pinned_and_hashed(path: Path) -> None:
    entries = re.sub(r"\\\n", "", path.read_text()).splitlines()
    assert entries
    for entry in entries:
        assert HASHED.match(entry), entry[:120]
