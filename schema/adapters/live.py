"""The payload of a running environment, for those who watch: cheap, safe, and never in the way of stepping.

Rules:
1. Call it from the thread that steps, between two steps: environments are not made for two threads.
2. It never raises. An adapter that fails `FAILURES` times in a row is not asked again; `problem` says why.
3. It takes at most `SHARE` of the time: after a call that took long, the next ones give None until that is made up for.
4. What it gives is bounded by `MAX_BYTES`; what is larger is replaced by a text that says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

import gymnasium as gym

from rolltape.schema.render_payload import TextPayload, payload_to_json

from .adapter import EnvironmentAdapter

FAILURES: Final = 3
SHARE: Final = 0.02
MAX_BYTES: Final = 64 << 10
FREE_S: Final = 0.001
"""A call as short as this is never made up for."""


class LivePayload:
    """Payloads of the sub-environments of one adapter, as JSON text.

    Args:
        adapter: of the environments.
        clock: seconds; only differences count.
        cpu: seconds that this thread computed: on a busy machine a short call may last long, and is still a short one.

    Attributes:
        problem: what the adapter raised last, or "".
        taken: payloads given.
        skipped: calls that gave None to keep rule 3.
    """

    def __init__(
        self,
        adapter: EnvironmentAdapter,
        clock: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._adapter, self._clock, self._cpu = adapter, clock, cpu
        self._failures = 0
        self._next_s = 0.0
        self.problem = ""
        self.taken = 0
        self.skipped = 0

    def take(self, env: gym.Env[Any, Any]) -> bytes | None:
        """The payload of `env` now as UTF-8 JSON (`payload_from_json` reads it), or None: show what was there before.

        Args:
            env: a sub-environment, with any wrappers.
        """
        if self._failures >= FAILURES:
            return None
        if self._clock() < self._next_s:
            self.skipped += 1
            return None
        began = self._cpu()
        try:
            payload = self._adapter.render_payload(env)
            text = None if payload is None else json.dumps(payload_to_json(payload), separators=(",", ":")).encode()
        except Exception as error:
            self._failures += 1
            self.problem = f"{type(error).__name__}: {error}"
            return None
        self._failures = 0
        if text is not None:
            self.taken += 1
            if len(text) > MAX_BYTES:
                said = TextPayload(lines=(f"The payload has {len(text):,} bytes; at most {MAX_BYTES:,} are shown.",))
                text = json.dumps(payload_to_json(said), separators=(",", ":")).encode()
        taken_s = self._cpu() - began
        if taken_s > FREE_S:
            self._next_s = self._clock() + taken_s / SHARE
        return text
