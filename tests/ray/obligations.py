"""The keeper of obligations: it notes, outside the recording, what was acknowledged; all of that must be found.

It sits between a producer and its writer, and notes the digest of the rows before they are sent. An acknowledgement makes
an obligation of it. A note is a line in a file of its own, written by one call, so that it outlives the process.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rolltape.actors.env_worker import EnvWorker, WorkerOrder
from rolltape.actors.on_ray import links
from rolltape.schema.messages import Ack

from .readback import Found, Fragment, digest_of_sent


class Keeper:
    """Notes the acknowledgements of this process in a file in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._file = os.open(folder / f"{os.getpid()}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._held: dict[int, tuple[Any, str, int]] = {}
        self._sent: dict[Fragment, tuple[str, int]] = {}
        self._noted: dict[tuple[int, int], int] = {}

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """From now on note everything that this process's links answer."""
        link = links.RayWriterLink
        hold, append, answer = link.hold, link.append, link.answer

        def holding(this: Any, batches: dict[str, Any]) -> Any:
            payload = hold(this, batches)
            rows = sum(batch.num_rows for batch in batches.values())
            self._held[id(payload)] = payload, digest_of_sent(batches), rows
            return payload

        def appending(this: Any, header: Any, payload: Any) -> Any:
            _, text, rows = self._held[id(payload)]
            self._sent[(*header.key, header.sequence)] = text, rows
            return append(this, header, payload)

        def answering(this: Any, handle: Any) -> Ack:
            ack = answer(this, handle)
            if ack.status == "durable":
                self._note(ack)
            return ack

        patch.setattr(link, "hold", holding)
        patch.setattr(link, "append", appending)
        patch.setattr(link, "answer", answering)

    def _note(self, ack: Ack) -> None:
        key = tuple(ack.key)
        for sequence in range(self._noted.get(key, 0) + 1, ack.sequence + 1):
            text, rows = self._sent[(*key, sequence)]
            os.write(self._file, (json.dumps([*key, sequence, rows, text]) + "\n").encode())
        self._noted[key] = max(ack.sequence, self._noted.get(key, 0))


class EnvWorkerThatNotes(EnvWorker):
    """A fleet's worker with a keeper."""

    def __init__(self, order: WorkerOrder) -> None:
        Keeper(Path(order.run_path).parent.parent.parent / "notes").watch(pytest.MonkeyPatch())
        super().__init__(order)


def check_obligations(folder: Path, found: Found) -> int:
    """Every acknowledged fragment is found, once, with the rows that were sent; returns how many there are."""
    digests = found.fragment_digests()
    there = set(found.fragments)
    assert len(there) == len(found.fragments)
    assert set(digests) == there, "rows of a fragment that no marker names, or none of one that a marker names"
    count = 0
    for path in folder.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            producer, incarnation, sequence, _, text = json.loads(line)
            fragment = (producer, incarnation, sequence)
            assert fragment in there, f"{fragment} was acknowledged and is gone"
            assert digests[fragment] == text, f"{fragment} has other rows than were sent"
            count += 1
    return count
