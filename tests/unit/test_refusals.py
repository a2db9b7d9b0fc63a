"""The unit tests' own rules hold."""

import time

import pytest
import ray  # before the test starts: what is not loaded then is looked at when the test ends


def test_sleeping_is_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match="pass a clock"):
        time.sleep(0)


def test_starting_ray_is_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match="move to tests/ray"):
        ray.init()
