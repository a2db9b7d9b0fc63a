"""When a lost marker may be made again from the parts of its commit."""

from __future__ import annotations

import pytest

from rolltape.storage.layout import CommitRange, WriterId
from rolltape.storage.markers import FragmentRange, Marker
from rolltape.storage.rebuilding import _held


def a_marker(*fragments: tuple[int, int, int, int]) -> Marker:
    return Marker(CommitRange(WriterId(0, 0), 1, 1), 0, fragments=tuple(FragmentRange(*one) for one in fragments))


@pytest.mark.parametrize(
    ("fragment", "held"),
    [((3, 0, 2, 2), "p3.0"), ((3, 0, 5, 7), ""), ((3, 0, 4, 5), "p3.0"), ((3, 0, 9, 12), "p3.0"), ((3, 1, 2, 2), "")],
)
def test_each_range_of_a_compaction_is_looked_at(fragment: tuple[int, int, int, int], held: str) -> None:
    """Two ranges of one producer: what is between them went to another writer. Only the last was looked at."""
    assert (
        _held(a_marker((3, 0, 1, 4), (4, 0, 1, 9), (3, 0, 8, 9)), [a_marker((5, 0, 1, 9)), a_marker(fragment)]) == held
    )
