"""What the tests with Ray share."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .processes import ACTORS, actors, kill


@pytest.fixture
def watched() -> None:
    """A gateway a recording, as users get it: see `_no_pages`."""


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Where a test records."""
    return tmp_path / "lake"


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """After a test no actor and no thread of a recording lives on."""
    yield
    deadline = time.monotonic() + 60  # they have gone at once, but on a machine that is busy
    while True:
        processes = [pid for title in ACTORS for pid in actors(title)]
        threads = [t.name for t in threading.enumerate() if t.name.startswith("rolltape-")]
        if not processes and not threads:
            return
        if time.monotonic() > deadline:
            for pid in processes:  # or every test after this one fails with it
                kill(pid)
            pytest.fail(f"left behind: processes {processes}, threads {threads}")
        time.sleep(0.05)
