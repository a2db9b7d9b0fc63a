"""Writers of two slots, their predecessors and producers, in orders that nobody thought of.

After every step the judge of tests/commit_world.py looks at the disk: what was acknowledged is there once, and
nothing is there twice, in part, or before what it needs.
"""

from __future__ import annotations

import errno
import os
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from rolltape.schema.columns import TABLES
from rolltape.schema.errors import Fenced, StorageError
from rolltape.schema.messages import ProducerKey
from rolltape.storage.commits import CommitLog
from rolltape.storage.compaction_groups import all_groups
from rolltape.storage.compactor import Compactor
from rolltape.storage.run_info import write_run_info
from rolltape.storage.sequences import FencedKey
from tests.commit_world import Crash, Sender, World, fenced
from tests.memory_files import MemoryFiles, WatchedFiles, stopping

SLOTS = 2
slots = st.integers(0, SLOTS - 1)
producers = st.integers(0, 2 * SLOTS - 1)  # of slot number % SLOTS
operations = st.integers(0, 25)
errors = st.sampled_from([errno.ENOSPC, errno.EIO, errno.EROFS])


class Writers(RuleBasedStateMachine):
    """Writers come, fail, are killed, stopped and woken; producers send, resend, and are replaced."""

    @initialize(one_by_one=st.booleans())
    def begin(self, one_by_one: bool) -> None:
        """`one_by_one`: a commit takes one fragment, however many are pending."""
        self.disk = MemoryFiles()
        self.world = World(self.disk)
        if one_by_one:
            self.world.config = self.world.config.model_copy(update={"max_bytes": 1})
        self.files: list[WatchedFiles] = []
        self.logs: list[CommitLog] = []
        self.stopped: list[tuple[int, CommitLog]] = []
        self.lives: dict[int, int] = {}
        self.fences: list[set[ProducerKey]] = [set() for _ in range(SLOTS)]  # durable ones by slot
        for slot in range(SLOTS):
            files = WatchedFiles(self.disk)
            self.files.append(files)
            self.logs.append(self.world.open(slot, files))
        write_run_info(self.world.run, {}, files=self.disk)

    def sender(self, number: int) -> Sender:
        return self.world.sender(number, self.lives.get(number, 0))

    def reopen(self, slot: int) -> None:
        self.files[slot] = WatchedFiles(self.disk)
        self.logs[slot] = self.world.open(slot, self.files[slot])

    def deliver_to(self, log: CommitLog, slot: int) -> None:
        for key, sender in self.world.senders.items():
            if key.producer % SLOTS == slot and not sender.fenced:
                sender.deliver(log)

    def commit_on(self, slot: int) -> None:
        self.world.commit(self.logs[slot])
        self.fences[slot] = set(self.logs[slot]._fenced_durable)

    def fill(self, slot: int) -> None:
        """Something to commit: an event without it says little."""
        self.sender(slot).make(1, 3)
        self.sender(slot).deliver(self.logs[slot])

    # ---- producers ----

    @rule(number=producers, fragments=st.integers(1, 3), steps=st.integers(1, 4), delivered=st.integers(0, 8))
    def make(self, number: int, fragments: int, steps: int, delivered: int) -> None:
        self.sender(number).make(fragments, steps)
        self.sender(number).deliver(self.logs[number % SLOTS], upto=delivered)

    @rule(number=producers, begin=st.none() | st.integers(1, 8), upto=st.none() | st.integers(1, 8))
    def deliver(self, number: int, begin: int | None, upto: int | None) -> None:
        """From where it should, or from anywhere."""
        self.sender(number).deliver(self.logs[number % SLOTS], upto, begin)

    @rule(number=producers)
    def replace_producer(self, number: int) -> None:
        old = self.sender(number)
        self.logs[number % SLOTS].fence_producer(old.key)
        old.fenced = True
        self.lives[number] = self.lives.get(number, 0) + 1

    @rule(number=producers)
    def late(self, number: int) -> None:
        """A replaced producer was only stopped, and sends."""
        slot = number % SLOTS
        for key, sender in self.world.senders.items():
            if key.producer == number and key in self.fences[slot] and sender.made:
                assert self.logs[slot].offer(sender.made[-1].header, sender.made[-1].batches) == FencedKey()

    # ---- writers ----

    @rule(slot=slots)
    def commit(self, slot: int) -> None:
        self.fill(slot)
        self.commit_on(slot)

    @rule(slot=slots, operation=operations, number=errors, lasting=st.booleans())
    def fail(self, slot: int, operation: int, number: int, lasting: bool) -> None:
        """The disk fails at an operation of a commit, once or from then on; then it is well again."""
        self.fill(slot)
        error = OSError(number, os.strerror(number))
        self.files[slot].watch = stopping(self.disk, operation, error, lasting=lasting).watch
        try:
            self.commit_on(slot)
        except StorageError as found:
            self.files[slot].watch = lambda *_: None
            if "cannot be said" in str(found):
                self.reopen(slot)
            self.world.check()
            self.commit_on(slot)
        self.files[slot].watch = lambda *_: None

    @rule(slot=slots, operation=operations)
    def kill(self, slot: int, operation: int) -> None:
        """At an operation of a commit; at the end of it when that has fewer."""
        self.fill(slot)
        self.files[slot].watch = stopping(self.disk, operation, Crash()).watch
        try:
            self.commit_on(slot)
        except Crash:
            self.world.check()
        self.reopen(slot)
        self.nothing_lies_about(slot)

    @rule(slot=slots, operation=operations)
    def kill_while_starting(self, slot: int, operation: int) -> None:
        try:
            self.world.open(slot, stopping(self.disk, operation, Crash()))
        except Crash:
            self.world.check()
        self.reopen(slot)

    @rule(slot=slots, operation=operations)
    def stop(self, slot: int, operation: int) -> None:
        """A writer is stopped at an operation of a commit; its successor takes all over; it wakes up."""
        self.fill(slot)
        log = self.logs[slot]

        def meanwhile() -> None:
            self.reopen(slot)
            self.deliver_to(self.logs[slot], slot)
            self.commit_on(slot)

        self.files[slot].watch = stopping(self.disk, operation, meanwhile).watch
        fenced(self.world.commit, log)
        if log is self.logs[slot]:  # it was through before
            self.reopen(slot)
        self.stopped.append((slot, log))

    @rule(choice=st.randoms(use_true_random=False))
    def wake(self, choice: random.Random) -> None:
        """One that was replaced long ago takes what is sent to it, and can do nothing with it."""
        if not self.stopped:
            return
        slot, log = choice.choice(self.stopped)
        try:
            self.deliver_to(log, slot)
            batch = log.take()
            if batch.fragments or batch.fenced - log._fenced_durable:
                with pytest.raises(Fenced):
                    log.commit(batch)
            else:
                log.commit(batch)
        except Fenced:
            pass

    # ---- compaction ----

    @rule(
        operation=st.none() | st.integers(0, 60),
        place=st.integers(0, 3),
        length=st.integers(1, 5),
        again=st.booleans(),
        waits=st.booleans(),
    )
    def compact(self, operation: int | None, place: int, length: int, again: bool, waits: bool) -> None:
        """Some of what there is is merged while writers go on; it may be killed at an operation. What it replaced goes
        at once, or with a later one."""
        files = self.disk if operation is None else stopping(self.disk, operation, Crash())
        try:
            with Compactor.begun(self.world.run, files=files, wall_s=lambda: 100.0) as compactor:
                assert compactor is not None
                pieces = compactor.pieces()
                groups = all_groups(pieces, "archive" if again else "normal", alive=True)
                if groups:
                    compactor.merge(groups[place % len(groups)][:length])
                    self.world.check()
                compactor.remove_superseded(1000.0 if waits else 0.0)
        except Crash:
            pass
        self.world.check()

    @rule(seed=st.none() | st.integers(0, 1000))
    def power_cut(self, seed: int | None) -> None:
        self.disk.power_cut(None if seed is None else random.Random(seed))
        self.world.check(glob=False)
        self.stopped.clear()
        for slot in range(SLOTS):
            self.reopen(slot)
            self.deliver_to(self.logs[slot], slot)  # what is answered as durable now stays so
        self.disk.power_cut()
        self.world.check(glob=False)
        for slot in range(SLOTS):
            self.reopen(slot)
            self.nothing_lies_about(slot)

    def nothing_lies_about(self, slot: int) -> None:
        """A started writer has put aside whatever a glob would take for data of its slot."""
        if self.world.in_swap():
            return  # a compaction was killed, or waits for the end of its grace; the next one removes that
        for table in TABLES:
            found = set(self.world.parts(table, marked=False)) - set(self.world.parts(table))
            assert not [name for name in found if name.startswith(f"w{slot}.")]

    # ---- what must hold ----

    @invariant()
    def all_is_well(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        for slot in range(SLOTS):
            self.reopen(slot)
            self.deliver_to(self.logs[slot], slot)
            self.commit_on(slot)
            while self.logs[slot].held_bytes:
                self.commit_on(slot)
        self.world.check()
        for sender in self.world.senders.values():
            assert sender.fenced or sender.acked == len(sender.made)


def test_any_order_of_events() -> None:
    run_state_machine_as_test(Writers, settings=settings(max_examples=10, stateful_step_count=25))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_any_order_of_many_events() -> None:
    run_state_machine_as_test(Writers, settings=settings(max_examples=400, stateful_step_count=80))
