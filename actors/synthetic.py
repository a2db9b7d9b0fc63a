"""The synthetic environment: what it gives follows from its seed and the actions, and every size can be chosen.

Rules:
1. Whatever it returns follows from the seed of its reset and the actions since: a recording of it replays bit for bit.
   The rate at which it steps changes nothing of that.
2. A later reset without a seed goes on with the same random state, as Gymnasium has it.
3. `compressibility` is the share of an observation or picture that stays the same throughout an episode; the rest is
   new noise in every step, which nothing compresses.

Gymnasium knows it once this module is imported; `module:id` does that in every process:
`gymnasium.make("rolltape.actors.synthetic:rolltape/Synthetic-v0")`. A Fleet and `rolltape record` need the id alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import gymnasium as gym
import numpy as np

from .pace import Pace

ENV_ID: Final = "rolltape/Synthetic-v0"
COUNTER = "count"
"""The first info key: the steps since the reset. The others are called `fact_1`, `fact_2`, … and are floats."""


class Synthetic(gym.Env[np.ndarray, np.int64]):
    """An environment to load a recorder with.

    Args:
        step_rate: steps a second; a step that comes early waits. 0: as fast as can be.
        observation_bytes: of a float32 vector, rounded up to whole numbers of 4 bytes.
        frame_size: height and width (or one number for both) of an RGB picture; with it `render_mode="rgb_array"`
            draws. None: draws 64 × 64.
        observes_frames: the observation is the picture, uint8 (H, W, 3), instead of the vector.
        episode_length: steps of an episode; a pair of numbers: between these, both included, by the seed.
        info_keys: how many infos a step has.
        compressibility: 0 to 1, see the rules.
        num_actions: actions are 0 to this, exclusive.
        render_mode: None or "rgb_array".
        clock, sleep: for tests of the pace.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(
        self,
        step_rate: float = 0.0,
        observation_bytes: int = 16,
        frame_size: int | tuple[int, int] | list[int] | None = None,
        observes_frames: bool = False,
        episode_length: int | tuple[int, int] | list[int] = (50, 500),
        info_keys: int = 0,
        compressibility: float = 0.5,
        num_actions: int = 2,
        render_mode: str | None = None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        shortest, longest = _pair(episode_length)
        height, width = _pair(frame_size or 64)
        for name, value, fits, allowed in (
            ("step_rate", step_rate, step_rate >= 0, "0 or more"),
            ("observation_bytes", observation_bytes, observation_bytes >= 1, "1 or more"),
            ("frame_size", frame_size, min(height, width) >= 1, "1 or more"),
            ("episode_length", episode_length, 1 <= shortest <= longest, "1 or more, the smaller first"),
            ("info_keys", info_keys, info_keys >= 0, "0 or more"),
            ("compressibility", compressibility, 0 <= compressibility <= 1, "between 0 and 1"),
            ("num_actions", num_actions, num_actions >= 1, "1 or more"),
            ("render_mode", render_mode, render_mode in (None, "rgb_array"), "None or 'rgb_array'"),
        ):
            if not fits:
                raise ValueError(f"{name} must be {allowed} (got {value!r})")
        self.render_mode = render_mode
        self._lengths = shortest, longest
        self._pace = Pace(step_rate, clock, sleep) if step_rate else None
        self._keys = [COUNTER, *(f"fact_{i}" for i in range(1, info_keys))][:info_keys]
        self._picture = np.zeros((height, width, 3), np.uint8)
        self._vector = np.zeros(-(-observation_bytes // 4), np.float32)
        self._observes_frames = observes_frames
        shown = self._picture if observes_frames else self._vector
        self._noisy_floats = _noisy(self._vector, compressibility)
        self._noisy_pixels = _noisy(self._picture.reshape(-1), compressibility)
        low, high = (0, 255) if observes_frames else (0.0, 1.0)
        self.observation_space = gym.spaces.Box(low, high, shown.shape, shown.dtype.type)
        self.action_space = gym.spaces.Discrete(num_actions)
        self._length = self._t = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new episode: its length, and what stays the same in it, are drawn."""
        super().reset(seed=seed)
        random = self.np_random
        self._length = int(random.integers(self._lengths[0], self._lengths[1], endpoint=True))
        if self._observes_frames or self.render_mode:
            self._picture = random.integers(0, 256, self._picture.shape, np.uint8)
        self._vector = random.random(self._vector.shape, np.float32)
        self._t = 0
        if self._pace is not None:
            self._pace.begin()
        return self._seen(), self._info()

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step: terminated in the last one of its length; the reward depends on action and observation."""
        if self._pace is not None:
            self._pace.wait()
        self._t += 1
        number = int(action)
        self._vector[0] = self.np_random.random(dtype=np.float32)
        if self._noisy_floats > 1:
            self._vector[1 : self._noisy_floats] = self.np_random.random(self._noisy_floats - 1, np.float32)
        if self._observes_frames or self.render_mode:
            self._paint(number)
        reward = number + float(self._vector[0])
        return self._seen(), reward, self._t >= self._length, False, self._info()

    def render(self) -> np.ndarray | None:
        """The picture, uint8 (H, W, 3); None without a render mode."""
        return self._picture.copy() if self.render_mode else None

    def _paint(self, action: int) -> None:
        flat = self._picture.reshape(-1)
        if self._noisy_pixels:
            words = -(-self._noisy_pixels // 8)
            noise = self.np_random.integers(0, 1 << 63, words, np.int64, endpoint=False).view(np.uint8)
            flat[: self._noisy_pixels] = noise[: self._noisy_pixels]
        flat[-1] = action % 256
        flat[0] = self._t % 256

    def _seen(self) -> np.ndarray:
        return (self._picture if self._observes_frames else self._vector).copy()

    def _info(self) -> dict[str, Any]:
        return {name: self._t if i == 0 else float(self._t) / (i + 1) for i, name in enumerate(self._keys)}


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)


def _noisy(values: np.ndarray, compressibility: float) -> int:
    """How many of these are new in every step."""
    return round(len(values) * (1.0 - compressibility))


gym.register(id=ENV_ID, entry_point=f"{__name__}:Synthetic")
