"""Minari's `DataCollector` with its defaults: HDF5, and pictures as JPEG, which loses some of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rolltape.scripts.bench.recorders import Costs, Stored, disk_bytes

DATASET = "bench/steps-v0"


class MinariCollector:
    """The recorder."""

    renders = True

    def open(self, env: Any, folder: Path, frames: str) -> Any:
        """Wrap the environment."""
        os.environ["MINARI_DATASETS_PATH"] = str(folder)
        import minari  # pyright: ignore[reportMissingImports]

        return minari.DataCollector(env)

    def begin(self) -> None:
        """Nothing to note."""

    def close(self, env: Any) -> None:
        """Make the data set of what was collected."""
        env.create_dataset(DATASET)
        env.close()

    def costs(self) -> Costs:
        """All of it is in this process."""
        return Costs()

    def read_back(self, folder: Path) -> Stored:
        """Count the steps of every episode. The last one was cut off, so that ends say nothing."""
        import minari  # pyright: ignore[reportMissingImports]

        dataset = minari.load_dataset(DATASET)
        pictures = len(dataset.observation_space.shape) > 1
        rows = frames = 0
        for episode in dataset.iterate_episodes():
            rows += len(episode.rewards)
            frames += len(episode.observations)
        size = disk_bytes(folder)
        return Stored(rows, None, frames if pictures else None, size, size if pictures else None)
