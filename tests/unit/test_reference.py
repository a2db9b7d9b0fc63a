"""The generated reference: signatures as written, commands as the program knows them, staleness noticed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
import typer.main

from rolltape.scripts import reference, schema_page


class Toy:
    """A toy."""

    def __init__(self, size: int, /, *rest: str, clock: Callable[[], float] = float, **more: int) -> None:
        """Not shown."""

    def grow(self, by: int = 1) -> int:
        """Grow."""
        return by

    @property
    def size(self) -> int:
        """Its size, in toys."""
        return 1

    def _hidden(self) -> None:
        """Not shown either."""


def many(first: int, *, second_with_a_long_name: str = "value", third_with_a_long_name: int | None = None) -> int:
    """Do."""
    return first


def test_class_with_its_members() -> None:
    assert reference._entry("Toy", Toy).splitlines() == [
        "## rolltape.Toy",
        "",
        "```python",
        "Toy(size: int, /, *rest: str, clock: Callable[[], float] = float, **more: int)",
        "```",
        *["", "A toy.", "", "### Toy.grow", ""],
        *["```python", "grow(by: int = 1) -> int", "```", "", "Grow."],
        *["", "### Toy.size", "", "Its size, in toys."],
    ]


def test_long_signature_has_an_argument_a_line() -> None:
    assert reference._signature("many", many) == [
        "many(",
        "    first: int,",
        "    *,",
        "    second_with_a_long_name: str = 'value',",
        "    third_with_a_long_name: int | None = None,",
        ") -> int",
    ]


def test_undocumented_name_is_refused() -> None:
    def bare() -> None: ...

    with pytest.raises(SystemExit, match=r"rolltape\.bare has no docstring"):
        reference._entry("bare", bare)


def test_commands_with_options() -> None:
    app = typer.Typer()

    @app.command("record")
    def _record(env: str, steps: int = typer.Option(10, "--steps", help="how many")) -> None:
        """Record ENV."""

    @app.command("runs")
    def _runs() -> None:
        """List runs."""

    assert list(reference._commands("rolltape", typer.main.get_command(app))) == [
        "## rolltape record ENV\n\nRecord ENV.\n\n"
        "| option | default | meaning |\n|---|---|---|\n| `--steps` | `10` | how many |",
        "## rolltape runs\n\nList runs.",
    ]


def test_stale_page_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "reference.md"
    monkeypatch.setattr(reference, "PAGE", page)
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    monkeypatch.setattr(reference, "CODES_PAGE", tmp_path / "log-codes.md")
    monkeypatch.setattr(reference, "SCHEMA_PAGE", tmp_path / "schema.md")
    monkeypatch.setattr(reference, "reference", lambda: "new\n")
    assert reference.main(["--check"]) == 1
    assert not page.exists()
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    page.write_text("old\n")
    assert reference.main(["--check"]) == 1


def test_tables_of_the_schema_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "schema.md"
    monkeypatch.setattr(reference, "PAGE", tmp_path / "reference.md")
    monkeypatch.setattr(reference, "CODES_PAGE", tmp_path / "log-codes.md")
    monkeypatch.setattr(reference, "SCHEMA_PAGE", page)
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    monkeypatch.setattr(reference, "reference", lambda: "new\n")
    page.write_text("Mine.\n\n<!-- table: keys -->\nold\n<!-- end -->\n\nMine too.\n")
    assert reference.main([]) == 0
    text = page.read_text()
    assert text.startswith("Mine.") and text.endswith("Mine too.\n") and "old" not in text
    assert "| `run_id` | string, dictionary |" in text
    assert reference.main(["--check"]) == 0
    page.write_text("<!-- table: nobody -->\n<!-- end -->\n")
    with pytest.raises(SystemExit, match="asks for the table 'nobody'"):
        reference.main(["--check"])


def test_the_schema_page_has_every_table() -> None:
    assert schema_page.missing(reference.SCHEMA_PAGE.read_text()) == []
