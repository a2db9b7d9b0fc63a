"""What `import rolltape` offers, and what it does not load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rolltape

ROOT = Path(__file__).parent.parent
HEAVY = {"ray", "duckdb", "pyarrow", "gymnasium", "numpy", "pydantic", "typer", "rich", "asyncio"}


def test_import_loads_nothing_heavy() -> None:
    program = "import sys, rolltape; dir(rolltape); rolltape.__version__; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    loaded = {name.split(".")[0] for name in shown.split()}
    assert "rolltape" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("name", rolltape.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(rolltape, name) is not None
    assert name in dir(rolltape)


def test_unknown_name_is_refused_with_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Flet'.*Fleet, record, open"):
        rolltape.Flet  # type: ignore[attr-defined]  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "rolltape" / "__init__.py").read_text())
    seen = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == rolltape._PLACES  # type: ignore[attr-defined]
    assert {*seen, "__version__"} == set(rolltape.__all__)


def test_reference_documents_exactly_these_names() -> None:
    page = (ROOT / "docs" / "reference.md").read_text()
    documented = [line.removeprefix("## rolltape.") for line in page.splitlines() if line.startswith("## rolltape.")]
    assert documented == [name for name in rolltape.__all__ if not name.startswith("__")]
