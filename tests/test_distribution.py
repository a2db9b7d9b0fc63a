"""What is shipped: the wheel holds every package, and no requirement names where it was downloaded from."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]


def run(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sdist of a copy of the sources: a build leaves traces in its own folder."""
    work = tmp_path_factory.mktemp("dist")
    source = work / "source"
    for folder in {"rolltape", *(folder.split("/")[0] for folder in PACKAGES.values())}:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
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
        *("--out-dir", work / "out", source),
    )
    (built,) = (work / "out").glob("*.whl")
    return built


def test_wheel_holds_every_module(wheel: Path) -> None:
    expected = {
        f"{package.replace('.', '/')}/{file.name}"
        for package, folder in PACKAGES.items()
        for file in (ROOT / folder).glob("*.py")
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert expected - names == set()
    assert "rolltape/py.typed" in names
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
