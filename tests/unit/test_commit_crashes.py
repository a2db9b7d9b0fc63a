"""A writer that is killed, or loses its power, at any file operation: what was acknowledged is there, once."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.commit_moments import Moment, in_memory, life, moments
from tests.commit_world import Crash, World
from tests.memory_files import stopping


@pytest.fixture(scope="module")
def story() -> list[Moment]:
    return moments(life)


def aftermaths(moment: Moment) -> Iterator[World]:
    """What a kill at that moment may leave: the operation not begun, or a write in the middle."""
    operation, path, data, world = moment
    yield world.copy(in_memory(world).copy())
    if operation == "write" and data is not None:
        torn = in_memory(world).copy()
        torn.write(path, data[: len(data) // 2])
        yield world.copy(torn)


def test_killed_at_any_operation(story: list[Moment]) -> None:
    assert len(story) > 100
    for moment in story:
        for world in aftermaths(moment):
            world.check()
            world.finish()


def test_power_cut_after_a_substitute_has_acknowledged(story: list[Moment]) -> None:
    """It tells a producer that a fragment is durable because it read the marker, which nobody may have synced."""
    for *_, moment in story:
        world = moment.copy(in_memory(moment).copy())
        log = world.open()
        world.deliver_all(log)
        in_memory(world).power_cut()
        world.check(glob=False)


@pytest.mark.parametrize("cuts", [1, pytest.param(30, marks=pytest.mark.long)])
def test_power_cut_at_any_operation(story: list[Moment], cuts: int) -> None:
    """All that was not synced is gone, or any part of it."""
    for index, moment in enumerate(story):
        for chance in (None, *(random.Random(f"{index}.{cut}") for cut in range(cuts))):
            for world in aftermaths(moment):
                in_memory(world).power_cut(chance)
                world.check(glob=False)
                world.finish()


def test_killed_again_while_starting_again(story: list[Moment]) -> None:
    """A substitute is killed at any operation of its own start, for a choice of states that it finds."""
    for index, (*_, world) in enumerate(story[::11]):
        seen = index % 3
        while True:
            trial = world.copy(in_memory(world).copy())
            files = stopping(trial.disk, seen, Crash())
            try:
                log = trial.open(files=files)
                trial.deliver_all(log)
                trial.commit(log)
            except Crash:
                trial.check()
                trial.finish()
                seen += 3
            else:
                break
        assert seen > 5
