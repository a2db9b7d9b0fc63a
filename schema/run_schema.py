"""What one run records: its spaces, its codecs, its frame policy, and the Arrow schema of each of its tables."""

from __future__ import annotations

import copy
from typing import Any, Final

import gymnasium as gym
import numpy as np
import pyarrow as pa

from .columns import table_schema
from .config import FramesConfig
from .errors import ConfigError
from .frame_layout import FrameLayout, is_image_space, stored_layout
from .space_codec import SpaceCodec

DIGEST: Final = gym.spaces.Box(0, 2**64 - 1, (), np.uint64)
"""The digest of a picture."""
STORING = ("observation", "render")
"""Frame policies under which observations that are images are stored."""


class RunSchema:
    """The contract of a run, built once from the single (not batched) spaces.

    Attributes:
        observation: codec of the observation space.
        action: codec of the action space.
        layout: how observation pictures are stored, or None where observations are not kept as frames.
        renders: whether `render()` is recorded.
        every: with renders, every how many steps.
        has_observation_column: whether steps carry an `observation` column.
        digests: whether they carry digests of observations that are pictures instead, see `of_rows`.
    """

    def __init__(
        self,
        run_id: str,
        env_id: str,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        frames: FramesConfig,
    ) -> None:
        self.run_id = run_id
        self.env_id = env_id
        self.observation = SpaceCodec(observation_space)
        self.action = SpaceCodec(action_space)
        image = is_image_space(observation_space)
        policy = frames.policy
        if policy == "auto":
            policy = "observation" if image else "none"
        if policy == "observation" and not image:
            raise ConfigError(
                f"frames.policy: 'observation' needs an image observation, but {env_id} observes "
                f"{' '.join(str(observation_space).split())}. Use 'render' to keep pictures of render(), or 'none'."
            )
        self.frame_policy = policy
        self.renders = policy == "render"
        self.every = frames.every
        self.layout: FrameLayout | None = stored_layout(observation_space) if image and policy in STORING else None
        self.has_observation_column = not image
        self.digests = image and policy == "replay"

    def of_rows(self) -> RunSchema:
        """What rows keep: of pictures that are not stored (frames=replay) a digest, as if that were the observation."""
        if not self.digests:
            return self
        kept = copy.copy(self)
        kept.observation, kept.has_observation_column = SpaceCodec(DIGEST), True
        return kept

    def keep_in_column(self) -> None:
        """Observations that are images go into the column as well, and into no picture: they came without any."""
        self.digests = False
        self.frame_policy, self.layout, self.has_observation_column = "none", None, True

    def arrow(self, table: str, info: pa.DataType | None = None) -> pa.Schema:
        """The Arrow schema of `table`, with the struct type of the typed infos where there are any."""
        observation = self.observation.field("observation") if self.has_observation_column else None
        action = self.action.field("action")
        if self.digests:
            return table_schema(table, action=action, info=info, digests=True)
        return table_schema(table, observation=observation, action=action, info=info)
