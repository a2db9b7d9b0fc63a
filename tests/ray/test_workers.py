"""Ray's worker processes find Rolltape, and what a test module defines, without any runtime environment."""

import importlib
import os
from typing import Any

import pytest


class Probe:
    """A plain class of a test module, as tests hand them to actors."""

    def loaded(self, names: list[str]) -> dict[str, str | None]:
        return {name: importlib.import_module(name).__file__ for name in names}

    def pid(self) -> int:
        return os.getpid()


@pytest.mark.usefixtures("ray_session")
def test_workers_import_the_same_files() -> None:
    import ray

    names = ["rolltape", "rolltape.schema", "rolltape.storage", "rolltape.actors", "rolltape.scripts.bench"]
    probe: Any = ray.remote(num_cpus=1)(Probe).remote()
    try:
        assert ray.get(probe.pid.remote()) != os.getpid()
        assert ray.get(probe.loaded.remote(names)) == Probe().loaded(names)
    finally:
        ray.kill(probe)
