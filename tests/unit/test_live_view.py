"""What is shown of an environment: the kind that its adapter offers, what was drawn anyway, or its numbers."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rolltape.actors.last_render import LastRender
from rolltape.actors.live_view import LiveView, plain
from rolltape.schema.adapters.adapter import RenderDescription
from rolltape.schema.adapters.generic import GenericAdapter
from rolltape.schema.render_payload import GridPayload, TextPayload


class Drawing(gym.Env[Any, Any]):
    render_mode = "rgb_array"
    drawn = 0

    def render(self) -> Any:
        self.drawn += 1
        return np.full((4, 6, 3), self.drawn, np.uint8)


class Says(GenericAdapter):
    payload: Any = None

    def describe_render(self) -> RenderDescription:
        return RenderDescription(("grid", "text"))

    def render_payload(self, env: gym.Env[Any, Any]) -> Any:
        return self.payload


def view_that_says(payload: Any, **more: Any) -> LiveView:
    env = Drawing()
    env.observation_space = env.action_space = gym.spaces.Box(-1, 1, (2,))
    adapter = Says(env)
    adapter.payload = payload
    return LiveView(adapter, [env], images=False, batched=False, **more)


GRID = GridPayload(rows=1, columns=1, tiles=("ice",), cells=((0,),))


@pytest.mark.parametrize(
    ("payload", "kinds", "shown"),
    [
        (GRID, ("grid", "rgb", "text"), "grid"),
        (GRID, ("rgb", "grid", "text"), "rgb"),
        (GRID, ("graph", "text", "rgb"), "text"),
        (TextPayload(lines=("own words",)), ("grid", "text"), "own words"),
        (None, ("grid", "rgb", "text"), "rgb"),
        (None, ("grid", "graph"), "renderers ="),
    ],
)
def test_the_first_kind_that_it_offers_is_shown(payload: Any, kinds: tuple[str, ...], shown: str) -> None:
    look = view_that_says(payload).look(0, np.zeros(2), 0, kinds)
    assert look is not None
    if shown == "rgb":
        assert look.picture is not None
    else:
        assert look.payload is not None and shown in look.payload.decode()


def test_an_adapter_that_has_no_other_look_is_not_asked() -> None:
    env = Drawing()
    env.observation_space = env.action_space = gym.spaces.Box(-1, 1, (2,))
    adapter = GenericAdapter(env)
    adapter.render_payload = lambda env: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    view = LiveView(adapter, [env], images=False, batched=False)
    look = view.look(0, np.zeros(2), 0)
    assert look is not None and look.picture is not None


def test_what_was_drawn_for_the_recording_is_not_drawn_again() -> None:
    drawn = LastRender(lambda: (np.zeros((4, 6, 3), np.uint8), np.ones((4, 6, 3), np.uint8)))
    drawn()
    assert drawn.picture is None, "nobody watches, nothing is held"
    view = LiveView(None, None, images=False, recorded=drawn)
    assert view.look(1, np.zeros((2, 3)), 0) is None, "nothing was drawn yet"
    drawn()
    look = view.look(1, np.zeros((2, 3)), 0)
    assert look is not None and (look.picture == 1).all()


def test_numbers_of_native_environments_have_their_names() -> None:
    look = LiveView(None, None, images=False, names=("speed", "angle")).look(1, np.array([[0, 0], [1.5, 2]]), 0)
    assert look is not None and json.loads(look.payload or b"")["lines"] == ["speed 1.5", "angle 2"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.int64(3), 3),
        (np.array([1.5, np.nan, np.inf]), [1.5, None, None]),
        (np.zeros(65), None),
        ("left", "left"),
        ({"a": 1}, None),
        ([[1], [2, 3]], None),
    ],
)
def test_values_as_json(value: Any, shown: Any) -> None:
    assert plain(value) == shown
