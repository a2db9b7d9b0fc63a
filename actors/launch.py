"""The only file that calls ray.init and ray.remote: plain classes become actors here, and their handles become links.

Rules:
1. Nothing that steps or appends is retried by Ray (`max_task_retries=0`): a retry would run it again under the same
   name.
2. Hub and writer come back by themselves (`max_restarts=-1`); environment workers are replaced by the fleet, because a
   new life needs a new incarnation.
3. A batch of 256 KiB and more is put into the object store once and passed as a top-level argument, so that sending it
   again copies nothing and the writer reads it there; a smaller one travels inside the call.
4. Calls are waited for as futures: `ray.wait` polls, which costs a millisecond of processor time a wait.
5. The process that put an object must live until the writer has it. It does: it waits for the acknowledgement.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil
import pyarrow as pa
import ray
from ray.exceptions import (
    ActorDiedError,
    GetTimeoutError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rolltape.schema.columns import TABLES
from rolltape.schema.config import BudgetConfig, RecordConfig
from rolltape.schema.config_live import LiveConfig
from rolltape.schema.config_logging import LoggingConfig
from rolltape.schema.config_resources import ResourcesConfig
from rolltape.schema.config_ui import UiConfig
from rolltape.schema.errors import ClusterError, RolltapeError, RunFailed
from rolltape.schema.live_messages import ControlEvent, GatewayReport, HubView, LiveDemand, LiveItem
from rolltape.schema.messages import (
    Ack,
    FragmentHeader,
    Grant,
    Heartbeat,
    ProducerKey,
    Registration,
    RunCounts,
    Watermark,
)

from .demand import Share, check_demand, demand_of
from .doorbell import Doorbell
from .gateway_process import GatewayProcess
from .hub import TelemetryHub
from .infos import Proposal
from .writer import Writer, WriterStatistics

T = TypeVar("T")
GONE: Final = (RayActorError, WorkerCrashedError, NodeDiedError, OutOfMemoryError)
"""What a call says whose process is gone: crashed, killed by Ray for want of memory, or gone with its node."""
NAMESPACE: Final = "rolltape"
KNOCK_S: Final = 10.0
START_S: Final = 300.0
"""A node that has to install a job's packages first takes a minute and more."""
PUT_BYTES: Final = 256 << 10
APPENDS_AT_ONCE: Final = 100_000
"""Calls that a writer holds open: more than all windows together can have in flight."""
PUSHES_AT_ONCE: Final = 32
"""Calls that a gateway takes at the same time; each waits for its event loop alone."""
EMBEDDED_STORE_BYTES: Final = 2 << 30
FLOOR_FRAGMENTS: Final = 16
"""Fragments that a producer may have in flight before its rate is known: a second of 100 MB/s."""


NOTHING_RESERVED: Final = ResourcesConfig()
"""For hub and writer, by default; a worker gets its CPU."""

HOW_TO_CONNECT: Final = (
    "Check the address, or unset RAY_ADDRESS to run on this machine alone. A cluster that asks for a token (Ray 2.60 "
    "turns that on by itself) needs RAY_AUTH_MODE=token and its token in ~/.ray/auth_token or RAY_AUTH_TOKEN."
)


def ensure_ray() -> None:
    """Connect to the cluster that RAY_ADDRESS names, or start Ray in this machine; nothing when that is done already.

    Raises ClusterError.
    """
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    silence()
    if address:
        _knock(address)
    try:
        if address:
            bring_token()
            ray.init(namespace=NAMESPACE, logging_level=logging.WARNING)
        else:
            ray.init(
                address="local",  # not a cluster that happens to run on this machine: it would have to be named
                namespace=NAMESPACE,
                include_dashboard=False,
                logging_level=logging.WARNING,
                object_store_memory=_store_bytes(),
            )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"the cluster at RAY_ADDRESS={address}" if address else "Ray on this machine"
        raise ClusterError(
            f"Cannot reach {where}: {str(error).rstrip('.')}. " + (HOW_TO_CONNECT if address else "")
        ) from error


def _knock(address: str) -> None:
    """Raise ClusterError where nobody listens; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
    except OSError as error:
        raise ClusterError(
            f"Nobody answers at RAY_ADDRESS={address} ({error.strerror or error}). Start the cluster, correct "
            f"the address, or unset RAY_ADDRESS to run on this machine alone."
        ) from error


def bring_token() -> None:
    """Use the token that is there: a cluster started by `ray start` asks for it, but an explicit address brings
    none."""
    try:  # Ray reads its settings when it is imported, and only this function of its own reads them again
        from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    except ImportError:
        return  # another Ray: RAY_AUTH_MODE must be set by hand, as HOW_TO_CONNECT says
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def silence() -> None:
    """Keep from the terminal what Ray and libraries say on every start; what workers print still comes through."""
    # "Token authentication is enabled": as it should be.
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")


def _store_bytes() -> int:
    return max(128 << 20, min(EMBEDDED_STORE_BYTES, int(psutil.virtual_memory().available * 0.3)))


def store_bytes() -> int:
    """Size of the object store of the cluster's smallest node, in bytes."""
    sizes = [int(n["Resources"].get("object_store_memory", 0)) for n in ray.nodes() if n["Alive"]]
    return min((s for s in sizes if s), default=EMBEDDED_STORE_BYTES)


def total_bytes(budget: BudgetConfig) -> int:
    """What all producers together may have in flight, in bytes; half of the store where nothing was said."""
    return budget.total_bytes or store_bytes() // 2


def check_resources(workers: int, resources: ResourcesConfig, *more: Share) -> None:
    """Refuse a run that the cluster can never place. Raises ClusterError with what is missing and what would fit."""
    check_demand([*demand_of(workers, resources), *more], [node["Resources"] for node in ray.nodes() if node["Alive"]])


# ---- actors ----


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


class HubOf:
    """Asks the hub of that name on behalf of a gateway or writer, from an event loop; a name, as in `CountsOf`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._hub: Any = None

    async def __call__(self, report: GatewayReport) -> HubView:
        """What the hub answers to a gateway."""
        return await asyncio.wrap_future(self._found().watch.remote(report).future())

    async def control(self, epoch: str, position: int) -> tuple[str, tuple[ControlEvent, ...], int]:
        """STARVED and RESUMED behind a position of a life of the hub; its life, the events, and the newest position."""
        return await asyncio.wrap_future(self._found().control.remote(epoch, position).future())

    def _found(self) -> Any:
        if self._hub is None:
            self._hub = ray.get_actor(self._name, namespace=NAMESPACE)
        return self._hub


class CountsOf:
    """Asks the hub of that name for its counts, from an event loop.

    A name, because Ray puts arguments that hold a handle into its store, where a restart may not find them any more.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._hub: Any = None

    async def __call__(self) -> RunCounts:
        if self._hub is None:
            self._hub = ray.get_actor(self._name, namespace=NAMESPACE)
        return await self._hub.counts.remote()


def find_actors(run_id: str) -> Actors:
    """The hub and the writer of a run that somebody else began. Raises ClusterError where they are not there."""
    try:
        return Actors(
            ray.get_actor(f"hub-{run_id}", NAMESPACE),
            [ray.get_actor(f"writer-{run_id}-0", NAMESPACE)],
        )
    except ValueError as error:
        raise ClusterError(f"Run {run_id} cannot be joined: it has ended, or is another cluster's. {error}") from error


def cluster_address() -> str:
    """Where a program of ours reaches the cluster that this process uses."""
    return ray.get_runtime_context().gcs_address


def start_program(cls: type, *args: Any, cpus: float, gpus: float, memory_bytes: int) -> Any:
    """Start the supervisor of a program on a node that has room for it; it dies for good."""
    options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "memory": memory_bytes or None}
    return ray.remote(cls).options(max_restarts=0, max_task_retries=0, max_concurrency=4, **options).remote(*args)


def leave() -> None:
    """End this actor's process, so that Ray starts it anew."""
    os._exit(1)


def publish(lake: Path) -> None:
    """Refresh the lake's catalog."""
    from rolltape.storage.catalog import publish_catalog

    publish_catalog(lake)


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


def call(method: Any, *args: Any, timeout_s: float = 30.0) -> Any:
    """Call an actor's method and wait; while the actor restarts, ask again.

    Raises ClusterError after `timeout_s`, or at once where the actor is gone for good.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        check_connected()
        try:
            return ray.get(method.remote(*args), timeout=max(0.1, deadline - time.monotonic()))
        except RayTaskError as error:
            raise unwrapped(error) from None
        except ActorDiedError as error:
            raise gone(error) from error
        except (*GONE, GetTimeoutError) as error:
            if time.monotonic() > deadline:
                raise ClusterError(f"An actor did not answer within {timeout_s:g} s: {error}") from error
            time.sleep(0.1)  # an actor that restarts refuses calls at once


def check_connected() -> None:
    """Raises ClusterError where Ray was shut down: whatever is asked then, Ray would start or join another cluster."""
    if not ray.is_initialized():
        raise ClusterError(
            "Ray was shut down in this process while a recording was open. What was acknowledged is safe. "
            "Close recordings before ray.shutdown()."
        )


def gone(error: ActorDiedError) -> ClusterError:
    """What to say of an actor that Ray will not start again."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    if error.actor_init_failed:
        return ClusterError(f"An actor could not start. {last.partition(': ')[2] or last}")
    return ClusterError(
        f"An actor of the recording was ended from outside, and Ray does not start it again: {last} What was "
        f"acknowledged is safe."
    )


def unwrapped(error: RayTaskError) -> BaseException:
    """Our own error that a remote call raised, or the error as Ray gives it."""
    cause = error.cause
    return cause if isinstance(cause, RolltapeError) else error


def ready(refs: list[Any], timeout_s: float) -> list[Any]:
    """Those of `refs` whose results are there, waiting at most `timeout_s` for the first."""
    check_connected()
    done, rest = ray.wait(refs, num_returns=1, timeout=timeout_s)
    if done and rest:
        more, _ = ray.wait(rest, num_returns=len(rest), timeout=0)
        done += more
    return done


def result(ref: Any) -> Any:
    """The result of a call that is ready. Raises our own errors as themselves."""
    check_connected()
    try:
        return ray.get(ref)
    except RayTaskError as error:
        raise unwrapped(error) from None


def answered(future: Future[T]) -> T:
    """The result of a call that is ready. Raises our own errors as themselves."""
    check_connected()
    try:
        return future.result(timeout=0)
    except RayTaskError as error:
        raise unwrapped(error) from None


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


def is_death(error: BaseException) -> bool:
    """Whether a call failed because its actor's process is gone."""
    return isinstance(error, GONE)


# ---- links ----


class RayWriterLink:
    """`window.Link` to a writer actor."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def hold(self, batches: dict[str, pa.RecordBatch]) -> tuple[tuple[str, ...], list[Any]]:
        tables = tuple(table for table in TABLES if table in batches)
        return tables, [_held(batches[table]) for table in tables]

    def append(self, header: FragmentHeader, payload: tuple[tuple[str, ...], list[Any]]) -> Any:
        check_connected()
        tables, held = payload
        return self._writer.append.remote(header, tables, *held).future()

    def answer(self, handle: Future[Ack]) -> Ack:
        try:
            return answered(handle)
        except ActorDiedError as error:
            raise gone(error) from error

    def hurry(self) -> None:
        check_connected()
        self._writer.hurry.remote()


def _held(batch: pa.RecordBatch) -> Any:
    if batch.get_total_buffer_size() >= PUT_BYTES:
        return ray.put(batch)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return pa.ipc.open_stream(sink.getvalue()).read_next_batch()


class RayHubLink:
    """`producer.HubLink` to a hub actor."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub

    def register(self, registration: Registration) -> Grant:
        return call(self._hub.register, registration)

    def beat(self, heartbeat: Heartbeat) -> Any:
        check_connected()
        return self._hub.heartbeat.remote(heartbeat).future()

    def grant(self, handle: Future[Grant]) -> Grant:
        return answered(handle)

    def wait(self, handles: list[Any], timeout_s: float, bell: Doorbell) -> list[Any]:
        check_connected()
        return bell.wait(handles, timeout_s)

    def agree(self, proposal: Proposal) -> Proposal:
        return call(self._hub.agree, proposal)

    def counts(self, timeout_s: float = 5.0) -> RunCounts:
        return call(self._hub.counts, timeout_s=timeout_s)

    def stop(self) -> None:
        check_connected()
        self._hub.stop.remote()


class RayGatewayLink:
    """`live_feed.GatewayLink` to whatever gateway a demand names."""

    def __init__(self) -> None:
        self._name = self._life = ""
        self._gateway: Any = None

    def push(self, demand: LiveDemand, owner: str, items: tuple[LiveItem, ...]) -> Any:
        check_connected()
        if (demand.gateway, demand.life) != (self._name, self._life) or self._gateway is None:
            self._gateway = ray.get_actor(demand.gateway, namespace=NAMESPACE)
            self._name, self._life = demand.gateway, demand.life
        return self._gateway.push.remote(owner, items).future()

    def answer(self, handle: Future[LiveDemand]) -> LiveDemand:
        try:
            return answered(handle)
        except BaseException:
            self._gateway = None
            raise


def fence(writer: Any, key: ProducerKey) -> Watermark:
    """Take nothing more from `key`; what of it is durable."""
    return call(writer.fence, key, timeout_s=120)


def flush(writer: Any, timeout_s: float) -> dict[ProducerKey, Watermark]:
    """Commit everything a writer has; what is durable."""
    return call(writer.flush, timeout_s=timeout_s)


def report(writer: Any) -> WriterStatistics:
    """What a writer did."""
    return call(writer.report)
