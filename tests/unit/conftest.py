"""Unit tests take milliseconds: what needs Ray belongs into tests/ray, what needs time takes a clock."""

import sys
import time
from collections.abc import Iterator

import pytest


def _refusal(what: str, instead: str):
    def refuse(*_args: object, **_kwargs: object) -> None:
        pytest.fail(f"a unit test called {what}; {instead}", pytrace=True)

    return refuse


@pytest.fixture(scope="module", params=["compiled", "python"])
def either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Rows of single environments by the compiled path, then in Python (`tests.recorders`)."""
    from rolltape.actors.compiled_rows import WHY_NOT
    from tests.recorders import WAY

    if request.param == "compiled" and WHY_NOT:
        pytest.skip(WHY_NOT)
    WAY["compiled"] = request.param == "compiled"
    yield
    WAY["compiled"] = True


@pytest.fixture(autouse=True)
def _no_ray_and_no_sleeping(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(time, "sleep", _refusal("time.sleep", "pass a clock that the test moves by hand"))
    ray = sys.modules.get("ray")
    ran_before = ray is not None and ray.is_initialized()
    if ray is not None:  # not imported for this: that alone takes a second
        monkeypatch.setattr(ray, "init", _refusal("ray.init", "test the plain class, or move to tests/ray"))
    yield
    ray = sys.modules.get("ray")
    if ray is not None and not ran_before and ray.is_initialized():
        ray.shutdown()
        pytest.fail("a unit test started Ray; test the plain class, or move to tests/ray")
