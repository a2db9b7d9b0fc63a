"""STARVED and RESUMED of those who watch, on their way into the table `control`: each once, by its key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import pyarrow as pa

from rolltape.schema.columns import table_schema
from rolltape.schema.errors import RolltapeError
from rolltape.schema.live_messages import ControlEvent
from rolltape.schema.messages import ProducerKey
from rolltape.storage.layout import RunFolder, list_parts
from rolltape.storage.ledger import rows_batch
from rolltape.storage.part_files import open_part

from .control_log import ControlLog, Pair

SCHEMA: Final = table_schema("control")


class ControlRows:
    """The transitions that are not committed yet.

    Args:
        known: the newest number of each (viewer, stream) that the recording has.

    Attributes:
        epoch, position: of the hub's log, up to where it was taken.
    """

    def __init__(self, known: dict[Pair, int]) -> None:
        self._log = ControlLog(known)
        self._waiting: list[ControlEvent] = []
        self.epoch, self.position = "", 0

    def take(self, told: tuple[str, Iterable[ControlEvent], int]) -> None:
        """What the hub told: its life, events, and its newest position."""
        self.epoch, events, self.position = told
        self._waiting += self._log.extend(events)

    def batch(self, run_id: str, key: ProducerKey, sequence: int) -> pa.RecordBatch | None:
        """All that wait, as rows that a fragment brings, and none wait any more; None where none do."""
        events, self._waiting = self._waiting, []
        return control_batch(events, run_id, key, sequence) if events else None


def control_batch(events: Sequence[ControlEvent], run_id: str, key: ProducerKey, sequence: int) -> pa.RecordBatch:
    """Transitions as rows that a fragment of `key` brings."""
    n = len(events)
    return rows_batch(
        SCHEMA,
        {
            "run_id": [run_id] * n,
            "agent_id": ["agent_0"] * n,
            "worker": [key.producer] * n,
            "incarnation": [key.incarnation] * n,
            "fragment": [sequence] * n,
            "sub_env": [event.stream for event in events],
            "episode": [-1] * n,
            "time": [int(event.time * 1e6) for event in events],
            "viewer": [event.viewer for event in events],
            "number": [event.number for event in events],
            "transition": [event.transition for event in events],
        },
    )


def stored_control(run: RunFolder) -> dict[Pair, int]:
    """The newest number of each (viewer, stream) in the recording; parts that cannot be read count as empty, because a
    transition may be stored twice where it cannot be known, and the recording must go on."""
    found: dict[Pair, int] = {}
    for path in list_parts(run, "control"):
        try:
            with open_part(str(path)) as file:
                table = file.read(columns=["viewer", "sub_env", "number"])
        except (OSError, pa.ArrowException, RolltapeError):
            continue
        for viewer, stream, number in zip(*(column.to_pylist() for column in table.columns), strict=True):
            found[viewer, stream] = max(number, found.get((viewer, stream), 0))
    return found
