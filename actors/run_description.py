"""What `run.json` says of a run as it begins: its environment, spaces, configuration, versions and host."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import platform
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from rolltape.schema.adapters.adapter import EnvironmentAdapter
from rolltape.schema.columns import PAYLOAD_VERSION
from rolltape.schema.config import RecordConfig
from rolltape.schema.config_provenance import Resolved
from rolltape.schema.run_schema import RunSchema
from rolltape.storage.host import this_process

PACKAGES = ("rolltape", "gymnasium", "numpy", "ray", "pyarrow", "duckdb", "ale-py", "box2d", "minigrid", "pygame-ce")


@dataclass(frozen=True, slots=True)
class EnvDescription:
    """What `run.json` says of the environment.

    Attributes:
        kind: `fleet` or `recorder`.
        source: an id or `module:callable` from which the environment is made again with `kwargs`; None: by `spec`.
        spec: Gymnasium's specification of one environment as JSON, None where there is none.
        autoreset: `next_step`, `same_step`, `disabled`, or None for a single environment.
    """

    env_id: str
    kind: str
    num_envs: int
    workers: int
    stride: int
    source: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    spec: Any = None
    vectorization: str = "none"
    autoreset: str | None = None
    render_mode: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def run_info(
    env: EnvDescription,
    schema: RunSchema,
    config: RecordConfig,
    adapter: EnvironmentAdapter | None,
    settings: Resolved | None = None,
) -> dict[str, Any]:
    """The content of `run.json`, but for the format."""
    layouts = {"observation": schema.layout.describe()} if schema.layout is not None else {}
    return {
        "run_id": schema.run_id,
        "created_ns": time.time_ns(),
        "payload_version": PAYLOAD_VERSION,
        "env_id": env.env_id,
        "env": _plain(asdict(env)),
        "num_envs": env.num_envs,
        "workers": env.workers,
        "episode_stride": env.stride,
        "seed": config.seed,
        "spaces": {"observation": schema.observation.descriptor, "action": schema.action.descriptor},
        "adapter": None if adapter is None else _plain(adapter.describe()),
        "space_signature": {"observation": schema.observation.signature, "action": schema.action.signature},
        "frames": {
            "policy": schema.frame_policy,
            "every": schema.every,
            "layouts": {kind: layout for kind, layout in layouts.items() if layout is not None},
        },
        "config": config.model_dump(mode="json"),
        "settings": None if settings is None else {"values": settings.table(), "evidence": dict(settings.evidence)},
        "versions": package_versions(),
        "host": this_process(),
    }


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what an environment does, where they are installed.

    They are looked up once: what is loaded stays as it is.
    """
    return dict(_package_versions())


@functools.cache
def _package_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=repr))
