"""Items that are made while others are used."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from rolltape.storage.reading_ahead import read_ahead


def test_items_come_in_order_and_nothing_is_lost() -> None:
    assert list(read_ahead(iter([None, 0, 1, 2]))) == [None, 0, 1, 2]
    assert list(read_ahead(iter(()))) == []


def test_the_next_item_is_made_while_one_is_used_and_no_other() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for n, event in enumerate(made):
            event.set()
            yield n

    ahead = read_ahead(items())
    assert next(ahead) == 0
    assert made[1].wait(10)
    assert not made[2].is_set()
    assert list(ahead) == [1, 2]


def test_what_making_an_item_raises_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise FileNotFoundError("a part")

    ahead = read_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(FileNotFoundError, match="a part"):
        next(ahead)


def test_the_thread_ends_with_an_iterator_that_is_left() -> None:
    before = threading.active_count()
    ahead = read_ahead(iter(range(100)))
    assert next(ahead) == 0
    assert threading.active_count() > before
    ahead.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
