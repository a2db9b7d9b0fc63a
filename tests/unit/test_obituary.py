"""What a producer that died leaves behind, against what it really did: nothing is lost without being said, and nothing twice."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from gymnasium import spaces as gs
from gymnasium.vector import AutoresetMode
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.obituary import Obituary, write_obituary
from rolltape.actors.page import ProducerPage, page_path
from rolltape.actors.vector_rows import VectorRows
from rolltape.schema.config import FramesConfig
from rolltape.schema.messages import FragmentHeader, ProducerKey, Watermark
from rolltape.schema.run_schema import RunSchema
from rolltape.storage.commits import CommitLog
from rolltape.storage.layout import RunFolder
from rolltape.storage.lost_episodes import INDEX_BLOCK
from tests.examples import examples
from tests.fakes import Agreement, fragments
from tests.lakes import QUICK, new_run
from tests.recorded import taken

N, OFFSET, STRIDE = 2, 4, 10


class Life:
    """One life of a producer of N sub-environments, sent to a commit log by hand."""

    def __init__(self, run: RunFolder, log: CommitLog, incarnation: int, before: Obituary | None) -> None:
        self.run, self.log, self.before = run, log, before
        self.key = ProducerKey(1, incarnation)
        schema = RunSchema(run.run_id, "Test-v0", gs.Discrete(100), gs.Discrete(2), FramesConfig())
        self.rows = VectorRows(
            schema,
            self.key,
            ProducerPage(page_path(run.producers, self.key), self.key, N),
            fragments(),
            num_envs=N,
            autoreset=AutoresetMode.NEXT_STEP,
            sub_env_offset=OFFSET,
            stride=STRIDE,
            agree=Agreement(),
            first_index=before.first_index if before else 0,
        )
        if before is not None:
            self.rows.mourn(before)
        self.sequence = self.steps = self.episodes = 0

    def reset(self) -> None:
        self.rows.reset(np.zeros(N, np.int64), {})

    def step(self, ends: list[bool]) -> None:
        zeros = np.zeros(N, np.int64)
        self.rows.step(zeros, zeros, np.zeros(N), np.array(ends), np.zeros(N, bool), {})

    def send(self) -> None:
        batches = taken(self.rows, self.sequence + 1)
        if not batches:
            return
        steps, episodes = (batches[t].num_rows if t in batches else 0 for t in ("steps", "episodes"))
        self.sequence, self.steps, self.episodes = self.sequence + 1, self.steps + steps, self.episodes + episodes
        totals = (steps, episodes, self.steps, self.episodes)
        self.log.offer(FragmentHeader(self.key, self.sequence, *totals, 1, 1, 1), batches)

    def die(self) -> Obituary:
        """Its obituary: what was sent is committed before."""
        self.log.commit(self.log.take())
        mark = self.log.watermarks.get(self.key, Watermark())
        return write_obituary(self.run, self.key, mark, OFFSET, N, STRIDE, self.before)


def table(run: RunFolder, name: str) -> list[dict]:
    import pyarrow.parquet as pq

    parts = [pq.read_table(path) for path in sorted(run.table(name).glob("*.parquet"))]
    return pa.concat_tables(parts).to_pylist() if parts else []


LIVES = st.lists(
    st.lists(
        st.one_of(st.just("send"), st.just("reset"), st.lists(st.booleans(), min_size=N, max_size=N)), max_size=14
    ),
    min_size=1,
    max_size=4,
)


@examples(20)
@given(LIVES)
def test_nothing_is_lost_without_being_said_and_nothing_twice(lives: list[list[str | list[bool]]]) -> None:
    with TemporaryDirectory() as folder:
        run = new_run(Path(folder))
        log = CommitLog.open(run, 0, QUICK)
        before: Obituary | None = None
        produced = 0
        for incarnation, life in enumerate(lives):
            producer = Life(run, log, incarnation, before)
            for move in life:
                if move == "send":
                    producer.send()
                elif move == "reset":
                    producer.reset()
                else:
                    producer.step(move)  # type: ignore[arg-type]
            produced += producer.rows.steps
            before = producer.die()
            assert (before.key, before.produced_steps) == (producer.key, producer.rows.steps)
        last = Life(run, log, len(lives), before)
        last.reset()
        last.step([False, False])
        last.rows.abort()
        last.send()
        log.commit(log.take())
        steps, episodes, ledger = (table(run, name) for name in ("steps", "episodes", "ledger"))
        assert produced + N == len(steps) + sum(row["rows"] for row in ledger if row["table_name"] == "steps")
        assert {row["cause"] for row in ledger} <= {"killed"}
        whose = [(row["of_worker"], row["of_incarnation"]) for row in ledger]
        assert len(set(whose)) == len(whose), "a loss is declared twice"
        numbers = [row["episode"] for row in episodes]
        assert len(set(numbers)) == len(numbers), "an episode has two rows"
        assert {row["episode"] for row in steps} <= set(numbers), "steps of an episode that is not there"
        for place in range(N):
            mine = sorted(n // STRIDE for n in numbers if n % STRIDE == OFFSET + place)
            assert mine == list(range(len(mine))), "an episode index was skipped or used again"
        for row in episodes:
            if row["status"] == "lost":
                known = [s for s in steps if s["episode"] == row["episode"]]
                assert row["length"] is None or row["length"] >= len(known)
                assert row["return"] is None and row["seed"] is None and row["final_observation"] is None


def test_a_page_that_went_with_its_node(tmp_path: Path) -> None:
    """How much was lost is unknown; nobody takes its episode numbers again."""
    run = new_run(tmp_path)
    log = CommitLog.open(run, 0, QUICK)
    producer = Life(run, log, 0, None)
    producer.reset()
    producer.step([True, False])
    producer.send()
    producer.step([False, False])
    page_path(run.producers, producer.key).unlink()
    obituary = producer.die()
    assert (obituary.lost_steps, obituary.durable_steps, obituary.produced_steps) == (None, 2, 2)
    assert obituary.first_index == [INDEX_BLOCK, INDEX_BLOCK], "also where no episode is durable, but steps of one are"
    assert obituary.lost_episodes == []
    successor = Life(run, log, 1, obituary)
    successor.send()
    log.commit(log.take())
    (row,) = table(run, "ledger")
    assert (row["rows"], row["first_step"], row["last_step"], row["cause"]) == (None, 2, None, "killed")
    assert (row["of_worker"], row["of_incarnation"], row["first_fragment"], row["last_fragment"]) == (1, 0, 2, None)
    assert row["first_time"] < row["last_time"] == row["time"]
    successor.reset()
    successor.step([False, False])
    successor.send()
    page_path(run.producers, successor.key).unlink()
    assert successor.die().first_index == [2 * INDEX_BLOCK, 2 * INDEX_BLOCK]


def test_who_never_began_lost_nothing(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    obituary = write_obituary(run, ProducerKey(1, 0), Watermark(), OFFSET, N, STRIDE)
    assert (obituary.lost_steps, obituary.lost_episodes, obituary.first_index) == (0, [], [0, 0])


def test_episodes_that_ended_have_no_known_length(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    producer = Life(run, CommitLog.open(run, 0, QUICK), 0, None)
    producer.reset()
    producer.step([True, False])
    producer.step([False, False])
    obituary = producer.die()
    assert obituary.lost_episodes == [(4, 4, -1), (4, 14, 0), (5, 5, 2)]
    assert (obituary.lost_steps, obituary.first_index) == (3, [2, 1])
