"""What is settled once for a run: the first proposal holds, and a file that a power cut emptied comes back."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from rolltape.actors.settled import settle, types_of_parts
from rolltape.schema.errors import LakeNotFound
from tests.lakes import new_run, record

TYPES = {"lives": pa.int64(), "place": pa.list_(pa.float32(), 2)}


def test_the_first_proposal_holds(tmp_path: Path) -> None:
    path = tmp_path / "infos.arrow"
    assert settle(path, TYPES) == TYPES
    assert settle(path, {"other": pa.bool_()}) == TYPES
    assert [p.name for p in tmp_path.iterdir()] == ["infos.arrow"]


@pytest.mark.parametrize("content", [b"", b"not Arrow", b"\xff" * 64])
def test_a_damaged_file_is_made_anew_from_what_is_proposed(tmp_path: Path, content: bytes) -> None:
    run = new_run(tmp_path)
    path = run.path / "infos.arrow"
    path.write_bytes(content)
    assert settle(path, TYPES) == TYPES
    assert settle(path, {}) == TYPES


def test_where_there_are_parts_they_say_what_was_settled(tmp_path: Path) -> None:
    run = record(tmp_path)
    settled = types_of_parts(run)
    assert settled is not None
    path = run.path / "infos.arrow"
    path.write_bytes(b"")
    assert settle(path, TYPES) == settled
    newest = sorted(run.table("steps").glob("*.parquet"))[-1]
    newest.write_bytes(b"")
    assert types_of_parts(run) == settled, "an older part says the same"


def test_a_run_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(LakeNotFound, match="moved or deleted"):
        settle(tmp_path / "gone" / "infos.arrow", TYPES)
