"""What is to be seen of a producer's environments between two steps: a picture or a render payload."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv, VectorEnv

from rolltape.schema.adapters.adapter import EnvironmentAdapter
from rolltape.schema.adapters.live import FAILURES, FREE_S, SHARE, LivePayload
from rolltape.schema.live_messages import KINDS, kind_of
from rolltape.schema.render_payload import TextPayload, payload_to_json

from .last_render import LastRender

MOST_VALUES: Final = 64
"""Numbers of an observation that are shown."""


class Look(NamedTuple):
    """What is seen: a picture (reduced by dividing its sides by `reduced`), or a payload as JSON.

    The picture may be the environment's own memory: it is what it is until the next step.
    """

    picture: np.ndarray | None = None
    payload: bytes | None = None
    reduced: int = 1


class LiveView:
    """Looks at the environments of one producer; only the stepping thread may ask.

    What may be shown has a kind: a grid, graph or text that the adapter says; rgb, which is the observation where that
    is an image, what was drawn for the recording, or what `render()` draws; text, the numbers of the observation.
    Drawing for those who watch alone takes at most 2 % of the time, like everything that an adapter does for them.

    Args:
        adapter: of the environments; None where no single one can be asked.
        envs: the sub-environments by place; None where they are native or in other processes.
        images: whether observations are pictures.
        batched: observations have an axis of sub-environments in front.
        recorded: what `render()` drew last for the recording, where renders are recorded.
        names: of the observation's numbers, where there is no adapter to say them.
        clock: seconds.
    """

    def __init__(
        self,
        adapter: EnvironmentAdapter | None,
        envs: Sequence[gym.Env[Any, Any]] | None,
        *,
        images: bool,
        batched: bool = True,
        recorded: LastRender | None = None,
        names: tuple[str, ...] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._envs, self._images, self._batched, self._clock = envs, images, batched, clock
        self._payloads = None if adapter is None or envs is None else LivePayload(adapter)
        self._offers = frozenset(() if adapter is None else adapter.describe_render().kinds) - {"rgb"}
        self._said: dict[int, str] = {}
        """By place, the kind of what the adapter said last."""
        self._names = names if adapter is None else adapter.describe_space().observation_names
        self._recorded = recorded
        if recorded is not None:
            recorded.keep()
        self._draw_at, self._failures = float("-inf"), 0

    def look(self, place: int, observations: Any, size: int, kinds: Sequence[str] = KINDS) -> Look | None:
        """What is seen of one sub-environment now; None: what was seen before still has to do.

        Args:
            place: of the sub-environment within its producer.
            observations: of the last step, batched where `batched`.
            size: longer side of pictures in pixels, about; 0 for their own.
            kinds: that may be shown, the first that it offers wins.
        """
        payload, later, asked = None, False, False
        for kind in kinds:
            if kind == "rgb" and self._has_picture(place):
                return self._picture(place, observations, size)
            if kind in self._offers:
                if not asked:
                    payload, later = self._payload(place)
                    asked = True
                if self._said.get(place) == kind:
                    return None if later else Look(payload=payload)
            if kind == "text":
                return Look(payload=self._numbers(place, observations))
        return Look(payload=_text(("not shown:", "renderers =", *kinds)))

    def _payload(self, place: int) -> tuple[bytes | None, bool]:
        """What the adapter says now; whether it is not asked now because it takes long."""
        payloads = self._payloads
        if payloads is None or self._envs is None:
            return None, False
        skipped = payloads.skipped
        payload = payloads.take(self._envs[place])
        if payload is None and payloads.skipped > skipped:
            return None, True
        self._said[place] = "" if payload is None else kind_of(payload)
        return payload, False

    def _has_picture(self, place: int) -> bool:
        if self._images or self._recorded is not None:
            return True
        if self._envs is None or self._failures >= FAILURES:
            return False
        return (
            self._envs[place].render_mode == "rgb_array"
        )  # a call would take the list of rgb_array_list from its user

    def _picture(self, place: int, observations: Any, size: int) -> Look | None:
        if self._images:
            return _reduced(np.asarray(observations[place] if self._batched else observations), size)
        if self._recorded is not None:
            drawn = self._recorded.picture
            if drawn is not None and self._batched:
                drawn = drawn[place]
            return None if drawn is None else _reduced(np.asarray(drawn), size)  # None: not drawn since it is kept
        assert self._envs is not None
        return self._drawn(self._envs[place], size)

    def values(self, place: int, action: Any, observation: Any) -> dict[str, Any]:
        """Action and observation of one sub-environment as JSON values; null where they are large."""
        if self._batched:
            action, observation = _at(action, place), _at(observation, place)
        return {"action": plain(action), "observation": None if self._images else plain(observation)}

    def _drawn(self, env: gym.Env[Any, Any], size: int) -> Look | None:
        if self._failures >= FAILURES or self._clock() < self._draw_at:
            return None
        began = self._clock()
        try:
            picture = np.asarray(env.render())
        except Exception:  # whoever steps must not suffer from those who watch; after three times it is not asked again
            self._failures += 1
            return None
        took = self._clock() - began
        if took > FREE_S:
            self._draw_at = self._clock() + took / SHARE
        return _reduced(picture, size) if picture.ndim in (2, 3) else None

    def _numbers(self, place: int, observations: Any) -> bytes:
        value = plain(_at(observations, place) if self._batched else observations)
        if isinstance(value, list) and self._names and len(self._names) == len(value):
            lines = tuple(f"{name} {number:.4g}" for name, number in zip(self._names, value, strict=True))
        elif isinstance(value, list):
            lines = tuple(
                "  ".join(f"{n:.4g}" if isinstance(n, float) else str(n) for n in value[i : i + 4])
                for i in range(0, len(value), 4)
            )
        else:
            lines = ("no picture" if value is None else str(value)[:200],)
        return _text(lines)


def view_of(
    env: Any,
    adapter: EnvironmentAdapter | None,
    *,
    images: bool,
    recorded: LastRender | None = None,
    names: tuple[str, ...] = (),
) -> LiveView:
    """What an environment or vector environment looks like to those who watch.

    Args:
        env: as it is stepped.
        adapter: of its sub-environments; None where no single one can be asked.
        images: observations are pictures.
        recorded: as in `LiveView`.
        names: as in `LiveView`.
    """
    if not isinstance(env, VectorEnv):
        return LiveView(adapter, [env], images=images, batched=False, recorded=recorded, names=names)
    inside = env.unwrapped
    envs = inside.envs if isinstance(inside, SyncVectorEnv) else None
    return LiveView(adapter, envs, images=images, recorded=recorded, names=names)


def _text(lines: Sequence[str]) -> bytes:
    said = payload_to_json(TextPayload(lines=tuple(lines)))
    return json.dumps(said, separators=(",", ":"), allow_nan=True).encode()


def _reduced(picture: np.ndarray, size: int) -> Look:
    """A view of a picture, with every k-th pixel where that is still at least twice as large as wanted."""
    sides = picture.shape[:2] if picture.ndim == 2 or picture.shape[-1] <= 4 else picture.shape[-2:]
    step = max(1, max(sides) // (2 * size)) if size else 1
    if step > 1 and (picture.ndim == 2 or picture.shape[-1] <= 4):
        picture = picture[::step, ::step]
    else:
        step = 1
    return Look(picture=picture, reduced=step)


def _at(values: Any, place: int) -> Any:
    """One sub-environment's value of a batch, as far as it is an array or a sequence."""
    if isinstance(values, dict):
        return {key: _at(value, place) for key, value in values.items()}
    try:
        return values[place]
    except (TypeError, IndexError, KeyError):
        return None


def plain(value: Any) -> Any:
    """A value as JSON: numbers, or a flat list of up to 64; None for what is larger, or of no such kind."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        return None
    if array.dtype.kind not in "biuf" or array.size > MOST_VALUES:
        return None
    if array.dtype.kind == "f":
        array = np.where(np.isfinite(array), array.astype(np.float64), np.nan)
        numbers = [None if number != number else number for number in array.ravel().tolist()]
    else:
        numbers = array.ravel().tolist()
    return numbers[0] if array.ndim == 0 else numbers
