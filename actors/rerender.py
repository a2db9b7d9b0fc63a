"""Pictures drawn again by replay: `frames="replay"` stores none of them.

Rules:
1. An episode is replayed once in an environment that draws, and compared with the recording, before its first picture
   is shown. One that differs shows none: the error has the difference.
2. To draw a picture the episode is stepped to it. Pictures in order cost one step each; going back begins anew.
3. While stepping for pictures, rewards and ends are compared again: drawing must not change what happens.
4. Pictures are kept within a bound of bytes, the longest unused go first; environments of `STAGES` runs stay open.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rolltape.schema.errors import LakeNotFound, ReplayFailed
from rolltape.schema.render_payload import RgbPayload

if TYPE_CHECKING:
    from rolltape.schema.adapters.adapter import EnvironmentAdapter
    from rolltape.schema.render_payload import RenderPayload
    from rolltape.storage.episodes import Episode
    from rolltape.storage.lake import Lake
    from rolltape.storage.runs import Run

    from .remaking import Maker

STAGES: Final = 2
PICTURE_BYTES: Final = 256 << 20


def open_lake(
    path: str | os.PathLike[str] = "lake",
    *,
    threads: int | None = None,
    memory: str | None = None,
    make: Maker | None = None,
) -> Lake:
    """Open a lake for reading, also while runs are being written into it. Nothing is created or locked.

    Args:
        path: the lake's folder.
        threads: threads of its queries; None for one a core.
        memory: memory limit of its queries such as "2GB"; None for 80 % of the machine.
        make: what makes environments to draw the pictures of runs with frames="replay", where the recording does not
            say it: `"module:callable"` or a callable, called with `render_mode="rgb_array"`.

    Raises:
        LakeNotFound: there is no lake at `path`.
    """
    from rolltape.storage.lake import open_lake as open_stored

    return open_stored(path, threads=threads, memory=memory, renderer=Rerenderer(make))


class Rerenderer:
    """Draws pictures of recorded episodes by replaying them. Threads may share it; it works for one at a time.

    Args:
        make: what makes the environments; None: as each recording says.
        picture_bytes: pictures that are kept.
    """

    def __init__(self, make: Maker | None = None, picture_bytes: int = PICTURE_BYTES) -> None:
        self._make, self._picture_bytes = make, picture_bytes
        self._stages: OrderedDict[tuple[str, bool], _Stage] = OrderedDict()
        self._kept: OrderedDict[tuple[str, int, str, int], np.ndarray] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Rerenderer, (self._make, self._picture_bytes)

    def pictures(self, run: Run, episode: int, kind: str | None) -> int:
        """How many pictures an episode has, one more than its steps. Raises ReplayFailed, LakeNotFound."""
        with self._lock:
            stage = self._stage(run)
            stage.kind(kind)
            return stage.enter(episode) + 1

    def picture(self, run: Run, episode: int, t: int, kind: str | None) -> np.ndarray:
        """The picture seen before step `t`, in memory of its own. Raises ReplayFailed, LakeNotFound."""
        with self._lock:
            stage = self._stage(run)
            key = (run.run_id, episode, stage.kind(kind), t)
            found = self._kept.get(key)
            if found is None:
                found = self._keep(key, stage.draw(episode, t, key[2]))
            self._kept.move_to_end(key)
            return found.copy()

    def payload(self, run: Run, episode: int, t: int) -> RenderPayload | None:
        """What stands for the look before step `t`. Raises LakeNotFound, ReplayFailed or AdapterError."""
        with self._lock:
            return self._stage(run, renders=False).payload(episode, t)

    def close(self) -> None:
        """Close the environments and forget the pictures."""
        with self._lock:
            while self._stages:
                self._stages.popitem()[1].close()
            self._kept.clear()
            self._kept_bytes = 0

    def _stage(self, run: Run, *, renders: bool = True) -> _Stage:
        key = run.run_id, renders
        stage = self._stages.get(key)
        if stage is None:
            stage = self._stages[key] = _Stage(run, self._make, renders)
            if len(self._stages) > STAGES:
                self._stages.popitem(last=False)[1].close()
        self._stages.move_to_end(key)
        return stage

    def _keep(self, key: tuple[str, int, str, int], picture: np.ndarray) -> np.ndarray:
        self._kept[key] = picture
        self._kept_bytes += picture.nbytes
        while self._kept_bytes > self._picture_bytes and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
        return picture


class _Stage:
    """The environment in which one run is drawn, and how far the episode in it has come."""

    def __init__(self, run: Run, make: Maker | None, renders: bool) -> None:
        from rolltape.schema.frame_layout import is_image_space

        from .replay import Replayer

        self._run = run
        self._replayer = Replayer(run, make, renders=renders)
        self._env = self._replayer.env
        self._shows = is_image_space(self._env.observation_space)
        self._episode = -1
        self._t = -1
        self._observation: Any = None
        self._adapter: EnvironmentAdapter | None = None
        self._read: Episode | None = None

    def kind(self, wanted: str | None) -> str:
        """The kind of picture that is meant: the observation where that is one, otherwise a render."""
        kind = wanted or ("observation" if self._shows else "render")
        if kind not in ("observation", "render") or (kind == "observation" and not self._shows):
            raise LakeNotFound(f"Run {self._run.run_id} has no {kind} pictures: frames=replay draws 'render' ones.")
        return kind

    def enter(self, episode: int) -> int:
        """Replay and compare an episode, unless it is the one at hand; its length."""
        from .replay import episode_rows

        if episode == self._episode:
            return self._length
        rows = episode_rows(self._run, f"episode = {int(episode)}")
        if not rows:
            run_id = self._run.run_id
            raise LakeNotFound(f"Run {run_id} has no episode {episode} that ended: run.episodes() lists them.")
        chain = self._replayer.chain(rows[0])
        if isinstance(chain, str):
            raise ReplayFailed(f"Episode {episode} of run {self._run.run_id} cannot be drawn again. It is {chain}.")
        verdict = self._replayer.verdict(chain)
        if verdict.outcome != "exact":
            raise ReplayFailed(
                f"Run {self._run.run_id}: the replay differs from the recording, so that its pictures would be of "
                f"something else. {str(verdict).capitalize()}."
            )
        self._chain, self._episode, self._t = chain, episode, -1
        self._length: int = chain[-1]["length"]
        return self._length

    def draw(self, episode: int, t: int, kind: str) -> np.ndarray:
        """The picture seen before step `t`."""
        self._come_to(episode, t)
        shown = self._observation if kind == "observation" else self._env.render()
        return np.array(shown)

    def payload(self, episode: int, t: int) -> RenderPayload | None:
        """What stands for the look before step `t`: from the recorded state, or by stepping there."""
        from .state_infos import adapter_again

        adapter = self._adapter = self._adapter or adapter_again(self._run, self._env)
        if self._read is None or self._read.episode != episode:
            self._read = self._run.episode(episode)
        some = self._run.info["config"].get("adapter", {}).get("keys")  # which may not be enough
        state = self._read.state(t) if adapter.describe_render().from_state and not some else {}
        payload = adapter.payload_of_state(state) if state else None
        if payload is None:
            self._come_to(episode, t)
            payload = adapter.render_payload(self._env)
        return self._placed(payload, t) if isinstance(payload, RgbPayload) else payload

    def _placed(self, payload: RgbPayload, t: int) -> RgbPayload | None:
        """With the frame that it means, which may be the last one kept before; None where none is kept."""
        assert self._read is not None
        frames = self._run.info["frames"]
        if frames["policy"] in ("none", "auto") or (frames["policy"] == "observation" and payload.frame == "render"):
            return None
        if payload.frame == "render" and frames["policy"] == "render" and t < self._read.length:
            t -= t % frames["every"]
        return replace(payload, run_id=self._run.run_id, episode=self._read.episode, t=t)

    def _come_to(self, episode: int, t: int) -> None:
        """Step the environment to where step `t` would be next. Raises LakeNotFound or ReplayFailed."""
        length = self.enter(episode)
        if not 0 <= t <= length:
            raise LakeNotFound(
                f"Run {self._run.run_id} has no picture of episode {episode} at t={t}: it has {length + 1:,} for t 0 "
                f"to {length}, drawn by replay."
            )
        if self._t < 0 or t < self._t:
            self._begin()
        while self._t < t:
            self._step()

    def close(self) -> None:
        """Close the environment."""
        self._replayer.close()

    def _begin(self) -> None:
        """Come to the beginning of the episode, through those before it in its chain."""
        done = 0
        for recorded in self._replayer.read(self._chain):
            for place in range(len(recorded.rows)):
                self._observation, _ = recorded.begin(self._env, place, seeded=done == 0)
                done += 1
                first, stop = recorded.edges[place : place + 2].tolist()
                if done < len(self._chain):
                    for at in range(first, stop):
                        self._env.step(recorded.actions[at])
                else:
                    self._recorded, self._first, self._t = recorded, first, 0

    def _step(self) -> None:
        at = self._first + self._t
        recorded = self._recorded
        self._observation, reward, terminated, truncated, _ = self._env.step(recorded.actions[at])
        ends = tuple(bool(flags[at]) for flags in recorded.last_flags)
        same = np.float64(reward).tobytes() == recorded.rewards[at].tobytes()
        if not same or (bool(terminated), bool(truncated)) != ends:
            t, self._t = self._t, -1
            run_id = self._run.run_id
            raise ReplayFailed(f"Run {run_id}, episode {self._episode}: drawing it changes what happens at t {t}.")
        self._t += 1
