"""What one writes without a recorder: a dict a step, a buffer of rows, pyarrow's defaults with zstd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from gymnasium.vector import VectorEnv, VectorWrapper

from rolltape.scripts.bench.recorders import Costs, Stored, disk_bytes

BUFFERED_ROWS = 4_096
FILE = "steps.parquet"


class RowBuffer:
    """Rows on their way into one Parquet file; a picture is its bytes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._rows: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, env: int, observation: Any, action: Any, reward: Any, terminated: Any, truncated: Any) -> None:
        """One transition and the observation after it."""
        kept = observation.tobytes() if observation.ndim > 1 else observation
        self._rows.append(
            {
                "env": env,
                "observation": kept,
                "action": action,
                "reward": float(reward),
                "terminated": bool(terminated),
                "truncated": bool(truncated),
            }
        )
        if len(self._rows) >= BUFFERED_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered."""
        if not self._rows:
            return
        table = pa.Table.from_pylist(self._rows)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)
        self._rows.clear()

    def close(self) -> None:
        """Write the rest and the footer."""
        self.flush()
        if self._writer is not None:
            self._writer.close()


class BufferedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """A single environment whose transitions are buffered."""

    def __init__(self, env: gym.Env[Any, Any], rows: RowBuffer) -> None:
        super().__init__(env)
        self._rows = rows

    def step(self, action: Any) -> Any:
        """Step and keep the row."""
        result = self.env.step(action)
        self._rows.add(0, result[0], action, result[1], result[2], result[3])
        return result


class BufferedVectorEnv(VectorWrapper[Any, Any, Any, Any, Any]):
    """A vector environment whose transitions are buffered, without those that only reset."""

    def __init__(self, env: VectorEnv[Any, Any, Any], rows: RowBuffer) -> None:
        super().__init__(env)
        self._rows = rows
        self._resetting = np.zeros(env.num_envs, bool)

    def step(self, actions: Any) -> Any:
        """Step and keep a row a sub-environment."""
        result = self.env.step(actions)
        observations, rewards, terminated, truncated, _ = result
        for i in range(self.num_envs):
            if not self._resetting[i]:
                self._rows.add(i, observations[i], actions[i], rewards[i], terminated[i], truncated[i])
        self._resetting = terminated | truncated
        return result


class PyarrowLoop:
    """The recorder."""

    renders = True

    def __init__(self) -> None:
        self._rows: RowBuffer | None = None

    def open(self, env: Any, folder: Path, frames: str) -> Any:
        """Wrap the environment."""
        self._rows = RowBuffer(folder)
        return BufferedVectorEnv(env, self._rows) if isinstance(env, VectorEnv) else BufferedEnv(env, self._rows)

    def begin(self) -> None:
        """Nothing to note."""

    def close(self, env: Any) -> None:
        """Write everything."""
        assert self._rows is not None
        env.close()
        self._rows.close()

    def costs(self) -> Costs:
        """All of it is in this process."""
        return Costs()

    def read_back(self, folder: Path) -> Stored:
        """Count rows, ends, and rows whose observation is a picture."""
        rows = ended = 0
        file = pq.ParquetFile(folder / FILE)
        pictures = pa.types.is_binary(file.schema_arrow.field("observation").type)
        for batch in file.iter_batches(columns=["terminated", "truncated"]):
            rows += batch.num_rows
            ends = batch.column("terminated").to_numpy(zero_copy_only=False)
            ended += int((ends | batch.column("truncated").to_numpy(zero_copy_only=False)).sum())
        size = disk_bytes(folder)
        if not pictures:
            return Stored(rows, ended, None, size)
        return Stored(rows, ended, rows, size, frame_bytes=size, first_frames=False)
