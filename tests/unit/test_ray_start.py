"""An embedded Ray that is slow to start: the processes of Ray are not started here."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import ray

from rolltape.actors.on_ray import cluster
from rolltape.schema.errors import ClusterError

SLOW = "The current node timed out during startup. This could happen because some of the raylet failed to startup."


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each `ray.init` is going to raise, "" for nothing; what was called is taken off."""
    planned: list[str] = []

    def init(**_: Any) -> None:
        if said := planned.pop(0):
            raise Exception(said)

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return planned


def test_a_slow_start_is_tried_once_more(starts: list[str]) -> None:
    starts += [SLOW, ""]
    cluster.ensure_ray()
    assert starts == []


@pytest.mark.parametrize(("planned", "left"), [([SLOW, SLOW, ""], 1), (["No room in /tmp", ""], 1)])
def test_what_does_not_start_is_said(starts: list[str], planned: list[str], left: int) -> None:
    starts += planned
    with pytest.raises(ClusterError, match=r"Cannot reach Ray on this machine: .*\. Its processes need a moment"):
        cluster.ensure_ray()
    assert len(starts) == left


def test_the_handler_of_sigterm_stays_the_programs_own(starts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def mine(number: int, frame: Any) -> None: ...

    def rays(number: int, frame: Any) -> None: ...

    before = signal.getsignal(signal.SIGTERM)
    try:
        for program, after in ((mine, mine), (signal.SIG_IGN, signal.SIG_IGN), (signal.SIG_DFL, rays)):
            signal.signal(signal.SIGTERM, program)
            monkeypatch.setattr(ray, "init", lambda **_: signal.signal(signal.SIGTERM, rays))
            cluster.ensure_ray()
            assert signal.getsignal(signal.SIGTERM) == after
    finally:
        signal.signal(signal.SIGTERM, before)


def test_sigterm_waits_until_ray_has_started(starts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Python dropped it in the callbacks of a fork: the run went on, with a lock of `logging` in hand."""
    heard: list[str] = []

    def mine(number: int, frame: Any) -> None:
        heard.append("mine")
        raise SystemExit(143)

    def slow(**_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        heard.append("started")

    def stuck(**_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        heard.append("started")

    before = signal.signal(signal.SIGTERM, mine)
    try:
        for init, expected in ((slow, ["started", "mine"]), (stuck, ["mine", "mine"])):
            heard.clear()
            monkeypatch.setattr(ray, "init", init)
            with pytest.raises(SystemExit):
                cluster.ensure_ray()
            assert heard == expected
            assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)
