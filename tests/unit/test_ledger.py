"""The ledger: losses as rows, accounts that add up, and runs that are settled after their driver died."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rolltape.schema.causes import CAUSES, cause_of
from rolltape.schema.errors import ConfigError
from rolltape.schema.messages import ProducerKey, Watermark
from rolltape.storage.ledger import Loss, accounts, ledger_batch, read_losses, read_pages
from rolltape.storage.run_info import read_run_info
from rolltape.storage.settlement import declare, durable_of, outstanding
from tests.ended_runs import crashed

KEY = ProducerKey(0, 0)
def test_a_loss_comes_back_as_it_went(tmp_path: Path) -> None:
    path = tmp_path / "w0.0-00000001-00000001.parquet"
    losses = [
        Loss("steps", "killed", KEY, 3, None, 2, 2, 10, 13, 1, 2, None, 5),
        Loss("frames", "damaged", None, None, 40, file="frames/x.parquet", declared_us=9),
    ]
    pq.write_table(pa.Table.from_batches([ledger_batch(losses, "R", ProducerKey(-1, 0), 1)]), path)
    from rolltape.storage.ledger import losses_of_part

    assert losses_of_part(path) == losses
    assert str(losses[0]) == "steps of p0.0: 3 rows (killed), its steps 11 to 13"
    assert str(losses[1]) == "frames: unknown, at most 40 rows (damaged), held by frames/x.parquet"


def test_a_cause_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cause: expected one of killed, .*, got 'because'"):
        ledger_batch([Loss("steps", "because")], "R", KEY, 1)
    assert cause_of("killed").stage == "lost"
    assert {cause.name for cause in CAUSES.values()} == set(CAUSES)


def test_a_crashed_run_is_settled_once(tmp_path: Path) -> None:
    """Twelve steps of each were sent, fourteen taken: the fifth episode is open and lost, with two steps."""
    run = crashed(tmp_path)
    info = read_run_info(run)
    before = outstanding(run, info, durable_of(run), cause="crashed")
    (loss,) = before.losses
    assert (loss.table, loss.of, loss.rows, loss.first_step, loss.last_step) == ("steps", KEY, 4, 24, 28)
    assert (loss.first_fragment, loss.last_fragment) == (4, None)
    assert [(e.sub_env, e.episode, e.length) for e in before.episodes] == [(0, 4000, 2), (1, 4001, 2)]
    assert not before.accounts[0].balanced
    declare(run, info, before)
    assert read_losses(run) == list(before.losses)
    assert not outstanding(run, info, durable_of(run), cause="crashed")
    (book,) = accounts(read_pages(run), durable_of(run), read_losses(run))
    assert (book.produced, book.durable, book.lost, book.balanced) == (28, 24, 4, True)
    rows = pq.read_table(run.table("episodes")).to_pylist()
    assert [row["episode"] for row in rows if row["status"] == "lost"] == [4000, 4001]


def test_lost_pictures_have_a_bound(tmp_path: Path) -> None:
    run = crashed(tmp_path, frames="observation")
    steps, frames = outstanding(run, read_run_info(run), durable_of(run), cause="crashed").losses
    assert (steps.rows, frames.rows, frames.at_most) == (4, None, 6)
    assert frames.count == "unknown, at most 6 rows"


def test_where_the_page_is_lost_the_loss_is_unknown(tmp_path: Path) -> None:
    run = crashed(tmp_path, page=False)
    info = read_run_info(run)
    (loss,) = (due := outstanding(run, info, durable_of(run), cause="crashed")).losses
    assert (loss.rows, loss.at_most, loss.count, due.episodes) == (None, None, "unknown", ())
    declare(run, info, due)
    assert not outstanding(run, info, durable_of(run), cause="crashed")


def test_a_page_that_says_less_than_is_durable_is_not_believed() -> None:
    from dataclasses import replace

    import numpy as np

    from rolltape.storage.pages import LastWords

    page = LastWords(KEY, 1, 5, 0, np.array([0]), np.array([5]))
    (book,) = accounts({KEY: page}, {KEY: Watermark(2, 8, 0)}, [])
    assert (book.produced, book.undeclared, book.balanced) == (None, None, False)
    (book,) = accounts({KEY: replace(page, steps=9)}, {KEY: Watermark(2, 8, 0)}, [Loss("steps", "killed", KEY, 1)])
    assert book.balanced


def test_readers_see_the_gaps(tmp_path: Path) -> None:
    from rolltape.storage.lake import open_lake

    run = crashed(tmp_path)
    info = read_run_info(run)
    found = open_lake(tmp_path).run(run.run_id)
    assert found.gaps() == [] and len(found.ledger()) == 0 and len(found.metrics()) == 0
    declare(run, info, outstanding(run, info, durable_of(run), cause="crashed"))
    assert [str(gap) for gap in found.gaps()] == ["steps of p0.0: 4 rows (crashed), its steps 25 to 28"]
    (row,) = found.ledger("rows > 0").to_dicts()
    assert (row["cause"], row["of_worker"], row["rows"]) == ("crashed", 0, 4)
    assert found.lake.sql("select sum(rows)::bigint from ledger").fetchall() == [(4,)]


def test_the_page_has_the_table_of_causes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "integrity.md").read_text()
    rows = [f"| `{cause.name}` | {cause.stage} | {cause.meaning} |" for cause in CAUSES.values()]
    assert "\n".join(rows) in page
