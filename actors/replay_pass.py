"""One way through recorded episodes in one environment: reset, the recorded actions, and the comparison.

Rules:
1. Nothing that a replay gave is looked at after the environment could have changed it.
2. A swift pass only says whether all is the same. Small observations of an environment that does not write to them
   again are kept for some hundred steps and compared in one array (`kept_values`); others before the next step is
   taken. Infos are copied at once.
3. Otherwise a careful pass says what differs first: it copies each value, and compares some steps at a time, column by
   column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np

from rolltape.storage.frame_store import through

from .blame import said
from .differences import picture_difference, same_bytes
from .exact_bytes import Matching
from .kept_values import KeptValues
from .pass_order import PassOrder
from .recorded_steps import RecordedSteps, copied
from .replayed import Divergence

COMPARE_STEPS: Final = 500
"""Steps after which a replay is compared with its recording."""
COMPARE_BYTES: Final = 8 << 20
"""Or bytes of observations."""

Verdict = tuple[Divergence | None, int]
"""The first difference of an episode, None where there is none; and the steps that were compared."""


def exact(recorded: RecordedSteps, places: Iterable[int] | None) -> dict[int, Verdict] | None:
    """Place -> verdict where all is the same; None stays None."""
    if places is None:
        return None
    lengths = [(place, recorded.rows[place]["length"]) for place in places]
    verdicts: dict[int, Verdict] = {n: (None, n) for _, n in lengths}
    return {place: verdicts[n] for place, n in lengths}


class SwiftPass:
    """Replays episodes as fast as it can, and says whether all is the same.

    Args:
        order: what it replays.
        kept: whether what this environment returns may be kept for some steps.
    """

    def __init__(self, order: PassOrder, kept: KeptValues) -> None:
        self._order, self._recorded, self._kept = order, order.recorded, kept
        self._seen = self._recorded.seen(0)

    def through(self) -> dict[int, Verdict] | None:
        """Place -> verdict of the episodes that are whole; None where something differs, or cannot be told."""
        recorded = self._recorded
        whole = self._order.whole
        if not recorded.is_exact or recorded.ends_within(whole):
            return None
        frames = {place: found for place in whole if (found := recorded.frames(place)) is not None}
        pictures = through(list(frames.values())) if frames else None
        self._matches: Matching = same_bytes if frames else recorded.matching()
        self._finals = recorded.finals() if pictures is None else []
        self._blocks = recorded.blocks() if pictures is None and self._kept.possible else None
        self._edges, self._lasts = recorded.edges.tolist(), [flags.tolist() for flags in recorded.last_flags]
        self._most = COMPARE_STEPS if self._blocks is None else self._kept.steps
        try:
            for place in whole:
                last = place in frames and len(frames[place]) > recorded.rows[place]["length"]
                if not self._episode(place, pictures, last):
                    return None
            if not self._same():
                return None
        except Exception:  # whatever it is, a careful pass says where
            return None
        return exact(recorded, whole)

    def _episode(self, place: int, pictures: Iterator[np.ndarray] | None, last: bool) -> bool:
        """`pictures` go on with those of this episode; `last`: there is one after its last step."""
        recorded = self._recorded
        at, stop = self._edges[place : place + 2]
        if at != self._seen.first + len(self._seen.rewards) and not self._go_on(at):
            return False
        observation, info = self._order.begin(place)
        if info or recorded.rows[place]["reset_info"]:
            self._seen.resets.append((place, dict(info)))
        ended: Any = None
        blocks, kept = self._blocks, self._kept
        pending = True
        while at < stop:
            if blocks is not None and kept.trusted:
                if pending and not self._matches(blocks.before(place, at), observation):
                    return False
                if len(self._seen.rewards) > len(self._seen.observations) and not self._go_on(at):
                    return False  # what was looked at one by one is not compared again
                pending, end = False, min(at + kept.steps, stop)
                ended = self._keep(recorded.actions[at:end])
            else:
                end = min(at + COMPARE_STEPS, stop)
                befores = recorded.befores(at, end) if pictures is None else pictures
                observation, *ended = self._look(recorded.actions[at:end], befores, observation)
                kept.judge(self._matches)
            seen = self._seen
            count = len(seen.rewards)
            if seen.first + count != end:  # it ended early, or something differs
                return False
            if (count >= self._most or seen.infos.nbytes >= COMPARE_BYTES) and not self._go_on(end):
                return False
            at = end
        if ended is not None:
            terminated, truncated = self._lasts
            if terminated[at - 1] is not bool(ended[0]) or truncated[at - 1] is not bool(ended[1]):
                return False
        if not pending:  # the last one is among those that are kept
            return True
        if pictures is not None:
            return not last or self._matches(next(pictures), observation)
        final = self._finals[place]
        return final is None or self._matches(final, observation)

    def _look(self, actions: list[Any], befores: Iterable[Any], observation: Any) -> tuple[Any, Any, Any]:
        """Take some steps and look at each, as far as all is well: the last observation and flags."""
        step, infos = self._order.env.step, self._seen.infos
        matches = self._matches if self._blocks is None else self._kept.trying(self._matches)
        rewards = self._seen.rewards
        keep = rewards.append
        terminated: Any = False
        truncated: Any = False
        for action, was in zip(actions, befores, strict=False):  # pictures go on with the next episode's
            if not matches(was, observation):
                break
            observation, reward, terminated, truncated, info = step(action)
            keep(float(reward))
            if info:
                infos.add(len(rewards) - 1, info)
            if terminated or truncated:
                break
        return observation, terminated, truncated

    def _keep(self, actions: list[Any]) -> tuple[Any, Any]:
        """Take some steps and keep what they return, until one ends the episode: the last flags."""
        seen = self._seen
        rewards = seen.rewards
        keep, note = seen.observations.append, rewards.append
        terminated: Any = False
        truncated: Any = False
        for observation, reward, terminated, truncated, info in map(self._order.env.step, actions):
            keep(observation)
            note(reward)
            if info:
                seen.infos.add(len(rewards) - 1, info)
            if terminated or truncated:
                break
        return terminated, truncated

    def _go_on(self, row: int) -> bool:
        """Compare what was seen, and begin anew with a row."""
        if not self._same():
            return False
        self._seen = self._recorded.seen(row)
        return True

    def _same(self) -> bool:
        seen = self._seen
        if seen.observations:
            assert self._blocks is not None
            whole = self._kept.together(seen.observations)
            if whole is None:
                self._kept.distrust()
                return False
            if not self._blocks.are(seen.first, whole):
                return False
        return self._recorded.is_same(seen, self._order.ignored)


class CarefulPass:
    """Replays episodes and looks at every step before it takes the next, as far as that can be."""

    def __init__(self, order: PassOrder) -> None:
        self._order, self._recorded = order, order.recorded
        self._found: dict[int, Verdict] = {}
        self._seen = self._recorded.seen(0)
        self._open: list[int] = []
        self._nbytes = 0
        self._different = False

    def through(self) -> dict[int, Verdict]:
        """Replay all: place -> verdict. Episodes that are not whole have none, nor has what follows them in a chain."""
        recorded = self._recorded
        for place in range(len(recorded.rows)):
            if recorded.why_not(place):
                self._compare()
                if self._order.chained:
                    break
                continue
            first = int(recorded.edges[place])
            if not self._open:
                self._seen = recorded.seen(first)
            self._open.append(place)
            if not self._episode(place) or self._enough:
                self._compare()
            if self._order.chained and self._different:
                break
        self._compare()
        bad = [place for place, (divergence, _) in self._found.items() if divergence is not None]
        if self._order.chained and bad:
            return {place: verdict for place, verdict in self._found.items() if place <= min(bad)}
        return self._found

    @property
    def _enough(self) -> bool:
        return len(self._seen.rewards) >= COMPARE_STEPS or self._nbytes >= COMPARE_BYTES

    def _episode(self, place: int) -> bool:
        """Replay one episode; False when it differs in a way that shows at once."""
        recorded = self._recorded
        row = recorded.rows[place]
        first, stop = recorded.edges[place : place + 2].tolist()
        pictures = recorded.pictures(place)
        step = self._order.env.step
        t = 0
        try:
            observation, info = self._order.begin(place)
            if info or row["reset_info"]:
                self._seen.resets.append((place, dict(info)))
            seen = self._seen
            size = getattr(observation, "nbytes", 64) if pictures is None else 0
            for at in range(first, stop):
                t = at - first
                if pictures is not None:
                    if (different := picture_difference(t, next(pictures), observation)) is not None:
                        return self._stop(place, different)
                    observation = None
                seen.observations.append(copied(observation))
                observation, reward, terminated, truncated, info = step(recorded.actions[at])
                seen.rewards.append(float(reward))
                seen.terminated.append(bool(terminated))
                seen.truncated.append(bool(truncated))
                if info:
                    seen.infos.add(at - seen.first, info)
                self._nbytes += size
                if (terminated or truncated) and at + 1 < stop:
                    return False  # the flags of this step are not the recorded ones
                if at + 1 < stop and self._enough:
                    self._compare(going_on=place)
                    if place in self._found:
                        return True
                    seen = self._seen
            t = stop - first
            if pictures is not None:
                last = next(pictures, None)
                if last is not None and (different := picture_difference(t, last, observation)) is not None:
                    return self._stop(place, different)
            else:
                seen.finals.append((place, copied(observation)))
        except Exception as error:  # a replay that left the recorded way may be refused an action
            return self._stop(place, Divergence(t, "error", "a step", said(error), None))
        return True

    def _stop(self, place: int, divergence: Divergence) -> bool:
        """An episode ends here, unless something before differs as well."""
        self._compare(going_on=place)
        if place not in self._found:
            self._found[place] = divergence, divergence.t
            self._different = True
            self._open = []
        return False

    def _compare(self, going_on: int | None = None) -> None:
        """Compare what was seen since the last time. `going_on` is the episode that has not ended."""
        seen, recorded = self._seen, self._recorded
        rows = seen.first + len(seen.rewards)
        del seen.observations[len(seen.rewards) :]
        start = 0
        opened = self._open
        while start < len(opened):
            different = recorded.difference(seen, opened[start], self._order.ignored)
            if different is None:
                break
            place, divergence = different
            for exact in opened[start : opened.index(place)]:
                self._found[exact] = None, recorded.rows[exact]["length"]
            self._found[place] = divergence, min(divergence.t + 1, recorded.rows[place]["length"])
            self._different = True
            start = opened.index(place) + 1
        left = opened[start:]
        for place in left:
            if place != going_on:
                self._found[place] = None, recorded.rows[place]["length"]
        self._open = [place for place in left if place == going_on]
        self._seen = recorded.seen(rows)
        self._nbytes = 0
