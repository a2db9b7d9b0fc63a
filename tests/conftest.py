"""What all tests share: their order, one Ray for those that need it, and no network, screen or deadline."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rolltape.schema.log_policy import Structured
from tests.examples import register_profiles

Structured.strict = True  # a record of ours that names no code and no run fails the test that emits it

# Read by Ray and SDL when they start, which is after this file is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
register_profiles()
# Presets of whoever runs the tests decide nothing, and nothing is left in their home.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="rolltape-tests-")


TESTS = Path(__file__).parent
SLOWEST_FIRST = ("faults", "ray", "browser", "contracts", "unit")
"""The folders in the order in which their tests run; what lies beside them (the examples of the docs) before."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in tests/ray, and begin with the slow files: at the end, when one process after the other has
    nothing more to do, only small ones are left."""
    ours = [item for item in items if item.path.is_relative_to(TESTS)]
    if len(ours) < len(items):  # a suite that ships, run from here: pytest --rolltape-adapter
        return
    for item in items:
        if "ray" in item.path.relative_to(TESTS).parts:
            item.add_marker("ray")

    def when(item: pytest.Item) -> tuple[bool, int]:
        first, *_ = item.path.relative_to(TESTS).parts
        return item.get_closest_marker("long") is not None, SLOWEST_FIRST.index(first) if first in SLOWEST_FIRST else -1

    items.sort(key=when)


@pytest.fixture(autouse=True)
def _no_pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page for each of hundreds of recordings takes a process and a second each; tests of the page turn it on."""
    if "unit" not in request.path.relative_to(TESTS).parts and "watched" not in request.fixturenames:
        monkeypatch.setenv("ROLLTAPE_LIVE__ENABLED", "false")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One embedded Ray for all tests that ask for it; it starts in some seconds, so it is never restarted.

    The eight CPUs are places for actors, not cores. Tests that kill actors clean up what they started; a test
    that has to kill Ray itself starts a Ray of its own in another process.
    """
    import ray

    # What a test defines reaches an actor by the name of its module, from whatever folder pytest was started.
    paths = [str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    ray.init(
        address="local",
        num_cpus=8,
        num_gpus=0,
        include_dashboard=False,
        object_store_memory=1 << 30,
        log_to_driver=False,
        configure_logging=False,
    )
    yield
    ray.shutdown()
