"""The page of a real recording: real recorder, hub, gateway and browser; what is seen is what the recorder drew."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from playwright.sync_api import expect

import rolltape as rt
from rolltape.actors.recorded_env import RecordedVectorEnv
from tests.ray.processes import wait_for

WAIT_S = 120.0
"""For processes that start beside others; what is there comes at once."""


@pytest.fixture
def watched() -> None:
    """A gateway for the recording, as users get it."""


@pytest.fixture
def recorded(ray_session: None, watched: None, tmp_path: Path) -> Iterator[RecordedVectorEnv]:
    """Two CartPoles of a native vector environment, stepped in a thread, each step drawn for the recording."""
    envs = gym.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point", render_mode="rgb_array")
    env = rt.record(
        envs, tmp_path / "lake", frames="render", throttle={"steps_per_s": 60}, ui_controls={"scalars_hz": 10}
    )
    assert isinstance(env, RecordedVectorEnv)
    ended = threading.Event()

    def steps() -> None:
        env.reset(seed=1)
        while not ended.is_set():
            env.step(np.array([0, 1]))

    stepping = threading.Thread(target=steps)
    stepping.start()
    yield env
    ended.set()
    stepping.join()
    env.close()


def test_what_is_drawn_is_seen_and_nobody_asks_for_it_afterwards(recorded: RecordedVectorEnv, blank: Any) -> None:
    blank.set_default_timeout(1000 * WAIT_S)
    feed = recorded._recorder.producer._live
    assert not feed.is_wanted
    wait_for(lambda: recorded.page, "the page's address", WAIT_S)
    blank.goto(recorded.page)
    tile = blank.locator('[data-stream="1"] canvas[data-seq]')
    tile.wait_for()
    expect(blank.get_by_role("img", name="rgb of environment 1")).to_be_visible(timeout=1000 * WAIT_S)
    wait_for(lambda: pixels(tile).shape[:2] == (107, 160), "a picture", WAIT_S)
    colours = {tuple(pixel) for pixel in (pixels(tile) // 64).reshape(-1, 3)}
    assert {(3, 3, 3), (0, 0, 0)} <= colours, "a black cart on white"
    assert feed.is_wanted

    steps = blank.locator(".figure", has=blank.get_by_text("Steps", exact=True)).locator("b")
    before = number(steps)
    wait_for(lambda: number(steps) > before, "more steps", WAIT_S)
    expect(blank.get_by_text("live 2", exact=True)).to_be_visible()

    blank.get_by_role("link", name="Logs").click()
    blank.get_by_role("cell", name="LOG1001").wait_for()
    wait_for(lambda: not feed.is_wanted, "the end of the demand", WAIT_S)
    blank.get_by_role("link", name="Live").click()
    wait_for(lambda: feed.is_wanted, "the demand", WAIT_S)
    blank.close()
    wait_for(lambda: not feed.is_wanted, "the end of the demand", WAIT_S)


def number(figure: Any) -> int:
    return int(figure.inner_text().replace(",", ""))


def pixels(canvas: Any) -> np.ndarray:
    """What a canvas shows, (H, W, 3)."""
    flat = canvas.evaluate(
        """(c) => [c.width, c.height, ...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]"""
    )
    return np.array(flat[2:], np.uint8).reshape(flat[1], flat[0], 4)[..., :3]
