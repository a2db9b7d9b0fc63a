"""What a producer tells its hub and hears from it, and a hub that dies."""

from __future__ import annotations

from typing import Any

import pytest

from rolltape.actors.producer import HEARTBEAT_S
from rolltape.schema.messages import Registration, Watermark
from tests.producer_scene import KEY, Scene


def test_heartbeats_say_how_it_goes() -> None:
    scene = Scene()
    scene.step(4, full=True)
    scene.turn(HEARTBEAT_S / 2)
    assert scene.hub.beats == []
    scene.turn(HEARTBEAT_S / 2)
    (beat,) = scene.hub.beats
    assert (beat.key, beat.steps, beat.inflight_bytes, beat.durable) == (KEY, 4, 32, Watermark())
    assert beat.rate_bytes_s == pytest.approx(32 / HEARTBEAT_S)
    scene.commit()
    scene.turn(1)
    scene.turn(1)
    beat = scene.hub.beats[-1]
    assert (beat.durable, beat.inflight_bytes, beat.inflight_high_bytes) == (Watermark(1, 4, 0), 0, 32)
    assert (beat.rate_bytes_s, beat.commit_s) == (0.0, 0.1)
    assert beat.lag_s == pytest.approx(HEARTBEAT_S + 1)


def test_only_one_heartbeat_is_on_its_way() -> None:
    scene = Scene()
    scene.hub.wait = lambda handles, timeout_s, bell: []  # type: ignore[method-assign]
    for _ in range(5):
        scene.turn(HEARTBEAT_S)
    assert len(scene.hub.beats) == 1


def test_the_hub_sets_the_budget_and_stops() -> None:
    scene = Scene()
    scene.hub.budget_bytes, scene.hub.stop = 77, True
    scene.turn(HEARTBEAT_S)
    scene.turn()
    assert scene.producer._window.budget_bytes == 77
    assert scene.producer.stop_asked
    scene.hub.stop = False
    scene.turn(HEARTBEAT_S)
    scene.turn()
    assert scene.producer.stop_asked


def registered_again(scene: Scene) -> list[Registration]:
    if scene.producer._registering is not None:
        scene.producer._registering.join()
    return scene.hub.registered[1:]


def test_a_new_hub_is_told_what_is_durable() -> None:
    scene = Scene()
    scene.step(4, full=True)
    scene.commit()
    scene.turn()
    scene.hub.epoch, scene.hub.known = "second", False
    scene.turn(HEARTBEAT_S)
    scene.turn()
    (again,) = registered_again(scene)
    assert (again.key, again.watermark) == (KEY, Watermark(1, 4, 0))
    scene.turn(HEARTBEAT_S)
    scene.turn()
    assert len(registered_again(scene)) == 1


def test_a_hub_that_dies_while_it_is_told_is_told_again() -> None:
    scene = Scene()
    scene.hub.epoch, scene.hub.known = "second", False
    register, scene.hub.register = scene.hub.register, failing  # type: ignore[method-assign]
    scene.turn(HEARTBEAT_S)
    scene.turn()
    assert registered_again(scene) == []
    scene.hub.register = register  # type: ignore[method-assign]
    scene.turn(HEARTBEAT_S)
    scene.turn()
    assert len(registered_again(scene)) == 1


def failing(*_: Any) -> Any:
    raise ConnectionError("no hub")


def test_a_hub_that_is_gone_changes_nothing() -> None:
    scene = Scene()
    budget = scene.producer._window.budget_bytes
    scene.hub.gone = True
    scene.step(3)
    for _ in range(4):
        scene.turn(HEARTBEAT_S)
    assert scene.link.sequences == [1]
    assert scene.producer._window.budget_bytes == budget
    assert len(scene.hub.beats) >= 2
    scene.hub.gone, scene.hub.budget_bytes = False, 5
    scene.turn(HEARTBEAT_S)
    scene.turn(HEARTBEAT_S)
    scene.turn()
    assert scene.producer._window.budget_bytes == 5
