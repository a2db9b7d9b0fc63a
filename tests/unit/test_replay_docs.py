"""The page on replay has the table that the code declares."""

from pathlib import Path

from rolltape.actors.replay_table import cells, markdown

PAGE = Path(__file__).parent.parent.parent / "docs" / "replay.md"


def test_the_page_has_the_table() -> None:
    assert markdown() in PAGE.read_text(), "docs/replay.md needs what rolltape.actors.replay_table.markdown() gives"


def test_every_source_is_there_in_each_of_its_modes() -> None:
    found = list(cells())
    assert len(found) == len(set(found)) == 23
