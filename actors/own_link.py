"""The writer's way to itself: its own log records are fragments like anybody's."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rolltape.schema.messages import Ack, FragmentHeader, ProducerKey

if TYPE_CHECKING:
    from .writer import Writer


class OwnLink:
    """`window.Link` from a thread of the writer's process to the writer on its event loop."""

    def __init__(self, writer: Writer, loop: asyncio.AbstractEventLoop) -> None:
        self._writer, self._loop = writer, loop

    def hold(self, batches: dict[str, pa.RecordBatch]) -> Any:
        """Nothing is copied: nobody changes them."""
        return batches

    def append(self, header: FragmentHeader, payload: Any) -> concurrent.futures.Future[Ack]:
        """Send a fragment; returns at once."""
        call = self._writer.append(header, tuple(payload), *payload.values())
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def answer(self, handle: concurrent.futures.Future[Ack]) -> Ack:
        """The answer of a call that is ready."""
        return handle.result(timeout=0)

    def hurry(self, key: ProducerKey, sequence: int) -> None:
        """Ask for a commit."""
        asyncio.run_coroutine_threadsafe(self._writer.hurry(key, sequence), self._loop)
