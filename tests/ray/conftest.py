"""What the tests with Ray share."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .processes import ACTORS, actors

LIVE = "ROLLTAPE_LIVE__ENABLED"


@pytest.fixture(scope="package", autouse=True)
def _unwatched() -> Iterator[None]:
    """No gateway a recording: a process that nobody looks at, in a test that is about something else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LIVE, "false")
        yield


@pytest.fixture(scope="module")
def watched() -> Iterator[None]:
    """The gateway again, as users get it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(LIVE, raising=False)
        yield


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Where a test records."""
    return tmp_path / "lake"


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """After a test no actor and no thread of a recording lives on."""
    yield
    deadline = time.monotonic() + 10
    while True:
        processes = [pid for title in ACTORS for pid in actors(title)]
        threads = [t.name for t in threading.enumerate() if t.name.startswith("rolltape-")]
        if not processes and not threads:
            return
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: processes {processes}, threads {threads}")
        time.sleep(0.05)
