"""What plain classes see of actors: `window.Link`, `hub_link.HubLink`, `live_feed.GatewayLink`, the hub as others ask
it, and what a writer is given.

Rules:
1. A batch of 256 KiB and more is put into the object store once and passed as a top-level argument, so that sending it
   again copies nothing and the writer reads it there; a smaller one travels inside the call.
2. The process that put an object must live until the writer has it. It does: it waits for the acknowledgement.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import ray
from ray.exceptions import ActorDiedError

from rolltape.actors.doorbell import Doorbell
from rolltape.actors.infos import Proposal
from rolltape.schema.columns import TABLES
from rolltape.schema.live_messages import ControlEvent, GatewayReport, HubView, LiveDemand, LiveItem
from rolltape.schema.messages import Ack, FragmentHeader, Grant, Heartbeat, ProducerKey, Registration, RunCounts

from .cluster import NAMESPACE
from .remote import answered, call, check_connected, gone

PUT_BYTES: Final = 256 << 10


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

    def hurry(self, key: ProducerKey, sequence: int) -> None:
        check_connected()
        self._writer.hurry.remote(key, sequence)


def _held(batch: pa.RecordBatch) -> Any:
    if batch.get_total_buffer_size() >= PUT_BYTES:
        return ray.put(batch)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return pa.ipc.open_stream(sink.getvalue()).read_next_batch()


class RayHubLink:
    """`hub_link.HubLink` to a hub actor."""

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


def leave() -> None:
    """End this actor's process, so that Ray starts it anew."""
    os._exit(1)


def publish(lake: Path) -> None:
    """Refresh the lake's catalog."""
    from rolltape.storage.catalog import publish_catalog

    publish_catalog(lake)
