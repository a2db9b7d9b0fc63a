"""Plain classes become actors here.

Rules:
1. Nothing that steps or appends is retried by Ray (`max_task_retries=0`): a retry would run it again under the same
   name.
2. Hub and writer come back by themselves (`max_restarts=-1`); environment workers are replaced by the fleet, because a
   new life needs a new incarnation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import ray
from ray.exceptions import WorkerCrashedError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rolltape.actors.gateway_process import GatewayProcess
from rolltape.actors.hub import TelemetryHub
from rolltape.actors.writer import Writer
from rolltape.schema.config import RecordConfig
from rolltape.schema.config_live import LiveConfig
from rolltape.schema.config_logging import LoggingConfig
from rolltape.schema.config_resources import ResourcesConfig
from rolltape.schema.config_ui import UiConfig
from rolltape.schema.errors import ClusterError, RunFailed

from .cluster import NAMESPACE, START_S, total_bytes
from .links import CountsOf, HubOf, leave, publish
from .remote import call, ready, result

T = TypeVar("T")
APPENDS_AT_ONCE: Final = 100_000
"""Calls that a writer holds open: more than all windows together can have in flight."""
PUSHES_AT_ONCE: Final = 32
"""Calls that a gateway takes at the same time; each waits for its event loop alone."""
FLOOR_FRAGMENTS: Final = 16
"""Fragments that a producer may have in flight before its rate is known: a second of 100 MB/s."""
NOTHING_RESERVED: Final = ResourcesConfig()
"""For hub and writer, by default; a worker gets its CPU."""


@dataclass(frozen=True, slots=True)
class Actors:
    """Handles of a run's control plane."""

    hub: Any
    writers: list[Any]


def start_actors(
    run_path: Path,
    run_id: str,
    config: RecordConfig,
    resources: ResourcesConfig = NOTHING_RESERVED,
    env_id: str = "unknown",
    logs: LoggingConfig | None = None,
) -> Actors:
    """Start the hub and a writer for a run, and wait until both answer. Raises what they raise (LakeNotWritable, …)."""
    total = total_bytes(config.budget)
    hub = (
        ray.remote(TelemetryHub)
        .options(
            num_cpus=resources.hub_cpus,
            memory=resources.hub_memory_bytes or None,
            max_restarts=-1,
            max_task_retries=0,
            name=f"hub-{run_id}",
            namespace=NAMESPACE,
        )
        .remote(
            run_id,
            total,
            FLOOR_FRAGMENTS * config.fragment.max_bytes,
            run_path / "infos.arrow",
            config.oldest_payload,
        )
    )
    writer = (
        ray.remote(Writer)
        .options(
            num_cpus=resources.writer_cpus,
            memory=resources.writer_memory_bytes or None,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=APPENDS_AT_ONCE,
            name=f"writer-{run_id}-0",
            namespace=NAMESPACE,
        )
        .remote(
            str(run_path),
            0,
            config,
            publish,
            leave,
            CountsOf(f"hub-{run_id}"),
            control=HubOf(f"hub-{run_id}").control,
            env_id=env_id,
            logs=logs,
        )
    )
    actors = Actors(hub, [writer])
    try:
        call(writer.report, timeout_s=START_S)
        call(hub.counts, timeout_s=START_S)
    except BaseException:
        stop_actors(actors)
        raise
    return actors


def start_gateway(
    run_path: Path, run_id: str, live: LiveConfig, view: UiConfig, about: Mapping[str, Any]
) -> Any:
    """Start the gateway of a run on this node, without waiting for it: a recording does not need it to begin."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    name = f"gateway-{run_id}"
    return (
        ray.remote(GatewayProcess)
        .options(
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=PUSHES_AT_ONCE,
            name=name,
            namespace=NAMESPACE,
            scheduling_strategy=here,
        )
        .remote(str(run_path), name, HubOf(f"hub-{run_id}"), live, view, about)
    )


def find_actors(run_id: str) -> Actors:
    """The hub and the writer of a run that somebody else began. Raises ClusterError where they are not there."""
    try:
        return Actors(
            ray.get_actor(f"hub-{run_id}", NAMESPACE),
            [ray.get_actor(f"writer-{run_id}-0", NAMESPACE)],
        )
    except ValueError as error:
        raise ClusterError(f"Run {run_id} cannot be joined: it has ended, or is another cluster's. {error}") from error


def start_program(cls: type, *args: Any, cpus: float, gpus: float, memory_bytes: int) -> Any:
    """Start the supervisor of a program on a node that has room for it; it dies for good."""
    options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "memory": memory_bytes or None}
    return ray.remote(cls).options(max_restarts=0, max_task_retries=0, max_concurrency=4, **options).remote(*args)


def stop_actors(actors: Actors) -> None:
    """End the control plane of a run."""
    for actor in (*actors.writers, actors.hub):
        kill(actor)


def kill(actor: Any) -> None:
    """End an actor's process at once, for good."""
    if not ray.is_initialized():
        return
    try:
        ray.kill(actor)
    except (ValueError, RuntimeError):
        return  # Ray itself has gone


def start_env_worker(
    cls: type, *args: Any, cpus: float, gpus: float = 0.0, memory_bytes: int = 0, **kwargs: Any
) -> Any:
    """Start an environment worker; it dies for good."""
    asked = {"num_cpus": cpus, "num_gpus": gpus, "memory": memory_bytes or None}
    return ray.remote(cls).options(**asked, max_restarts=0, max_task_retries=0).remote(*args, **kwargs)


def tasks(function: Callable[..., T], jobs: Sequence[tuple[Any, ...]], at_once: int) -> Iterator[T]:
    """Run `function(*job)` for each job in worker processes, `at_once` at a time; results in the order of their ends.

    Raises what a job raises, RunFailed where its process died.
    """
    task = ray.remote(function).options(num_cpus=1, max_retries=0)
    waiting, running = list(jobs), []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(task.remote(*waiting.pop(0)))
            for ref in ready(running, 1.0):
                running.remove(ref)
                yield result(ref)
    except WorkerCrashedError as error:
        raise RunFailed(f"A process died while it replayed: {error}") from error
    finally:
        for ref in running:
            ray.cancel(ref, force=True)


