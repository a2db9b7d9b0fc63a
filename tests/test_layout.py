"""The house rules: folders, package map, links for type checkers and the direction of imports agree.

1. The top-level folders are the packages: `actors/` is `rolltape.actors` in pyproject.toml's map and list.
2. `.importmap/rolltape/` shows the same tree to type checkers.
3. Imports point one way: schema < storage < actors < dashboards < scripts, also those inside functions.
4. Siblings are imported relatively, others by their full name, nobody by the bare name of a folder.
5. Every module is about one noun; there is no `utils`.
"""

import ast
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ["schema", "storage", "actors", "dashboards", "scripts"]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
NOT_A_NOUN = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}


def modules(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts)


def package_of(file: Path) -> str:
    """Import name of the package that holds a file: schema/adapters/x.py -> rolltape.schema.adapters."""
    folder = file.parent.relative_to(ROOT)
    return "rolltape" if folder == Path("rolltape") else ".".join(("rolltape", *folder.parts))


class Import(NamedTuple):
    name: str  # absolute: "rolltape.schema.spaces", "numpy"
    relative: bool
    line: int


def imports(file: Path) -> Iterator[Import]:
    """Every import of the file wherever it stands, also `importlib.import_module("...")` of a literal."""
    package = package_of(file)
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, False, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join((*parent, base)) if base else ".".join(parent)
            if base == "rolltape" or base == package:  # the imported names may be modules themselves
                for alias in node.names:
                    yield Import(f"{base}.{alias.name}", bool(node.level), node.lineno)
            else:
                yield Import(base, bool(node.level), node.lineno)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            match node.args:
                case [ast.Constant(value=str(name)), *_]:
                    yield Import(name, False, node.lineno)


def complaints(folder: str) -> Iterator[str]:
    for file in modules(folder):
        for found in imports(file):
            where = f"{file.relative_to(ROOT)}:{found.line}"
            top, _, rest = found.name.partition(".")
            if top in LAYERS and not found.relative:
                yield f"{where}: imports `{found.name}`; its name is rolltape.{found.name}"
            if top != "rolltape" or folder not in LAYERS:
                continue
            target = rest.split(".")[0]
            if target in LAYERS:
                if LAYERS.index(target) > LAYERS.index(folder):
                    yield f"{where}: {folder} may not use {target}; the order is {' < '.join(LAYERS)}"
                if not found.relative and found.name.rpartition(".")[0] == package_of(file):
                    yield f"{where}: `{found.name}` is a sibling; import it relatively"
            elif target != "__version__" and folder != "scripts":
                yield f"{where}: {folder} imports the face; import from the module that defines it"


@pytest.mark.parametrize("folder", [*LAYERS, "rolltape", "tests"])
def test_imports_point_one_way(folder: str) -> None:
    assert list(complaints(folder)) == []


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("def late():\n    from rolltape.actors.hub import Hub", "storage may not use actors"),
        ("import rolltape.scripts.cli", "storage may not use scripts"),
        ("from rolltape import dashboards", "storage may not use dashboards"),
        ("import importlib\nimportlib.import_module('rolltape.actors.hub')", "storage may not use actors"),
        ("import schema.spaces", "its name is rolltape.schema.spaces"),
        ("from rolltape.storage.parts import Part", "is a sibling"),
        ("from rolltape import Fleet", "imports the face"),
        ("from rolltape import __version__", None),
        ("from .parts import Part", None),
        ("from . import parts", None),
        ("from rolltape.schema.spaces import describe", None),
    ],
)
def test_the_check_itself(code: str, complaint: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "lake.py").write_text(code)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    found = list(complaints("storage"))
    if complaint is None:
        assert found == []
    else:
        assert len(found) == 1
        assert complaint in found[0]


def test_every_folder_with_code_is_packaged() -> None:
    folders = {file.parent for folder in ("rolltape", *LAYERS) for file in modules(folder)}
    expected = {package_of(folder / "x.py"): folder.relative_to(ROOT).as_posix() for folder in folders}
    assert SETUPTOOLS["package-dir"] == expected, "[tool.setuptools.package-dir] against the folders"
    assert sorted(SETUPTOOLS["packages"]) == sorted(expected), "[tool.setuptools] packages against the folders"
    assert [name for name, folder in expected.items() if not (ROOT / folder / "__init__.py").exists()] == []


def test_no_other_folder_holds_code() -> None:
    allowed = {"rolltape", *LAYERS, "tests", "examples"}
    found = {p.parent.name for p in ROOT.glob("[!.]*/*.py")} - {"build"}
    assert found <= allowed, (
        "code lives in one of the six packages, in tests, or in examples, which are read and not imported"
    )


def test_each_package_says_what_lives_there() -> None:
    for folder in ("rolltape", *LAYERS):
        said = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text())) or ""
        assert "\n\nNever here: " in said, f"{folder}/__init__.py: what lives here, then 'Never here: …'"


def test_links_show_the_same_tree() -> None:
    links = ROOT / ".importmap" / "rolltape"
    shown = {link.name: link.readlink().as_posix() for link in links.iterdir()}
    face = {file.name for file in (ROOT / "rolltape").iterdir() if file.is_file()}
    expected = {name: f"../../{name}" for name in LAYERS} | {name: f"../../rolltape/{name}" for name in face}
    assert shown == expected
    for name in shown:
        assert (links / name).resolve(strict=True).is_relative_to(ROOT.resolve())


def test_type_checker_looks_at_every_package() -> None:
    included = json.loads((ROOT / ".importmap" / "pyrightconfig.json").read_text())["include"]
    assert included == ["rolltape/__init__.py", *(f"rolltape/{name}" for name in LAYERS)]


def test_modules_are_nouns() -> None:
    files = [file for folder in LAYERS for file in modules(folder)]
    named = [file.relative_to(ROOT).as_posix() for file in files if file.stem in NOT_A_NOUN]
    assert named == [], "a helper lives with its only user, or gets a noun"
