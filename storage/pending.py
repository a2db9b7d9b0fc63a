"""What a writer has accepted and no commit has made durable: fragments, and the batch of them that a commit takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from rolltape.schema.errors import StorageError
from rolltape.schema.messages import FragmentHeader, ProducerKey, Watermark

from .markers import FragmentRange
from .sequences import watermark_after


@dataclass(frozen=True, slots=True)
class PendingFragment:
    """An accepted fragment, its Arrow bytes, when it came, and when its oldest row was made, on the log's clock."""

    header: FragmentHeader
    batches: Mapping[str, pa.RecordBatch]
    nbytes: int
    came_s: float
    opened_s: float


@dataclass(frozen=True, slots=True)
class Batch:
    """The fragments of one commit in the order in which they came, and all producer keys fenced by then."""

    fragments: tuple[PendingFragment, ...]
    fenced: frozenset[ProducerKey]

    def continued(
        self, durable: Mapping[ProducerKey, Watermark]
    ) -> tuple[tuple[FragmentRange, ...], dict[ProducerKey, Watermark]]:
        """The ranges of its fragments, and the watermarks of their keys after it. Raises StorageError where it would
        leave a hole after what is `durable`."""
        first: dict[ProducerKey, int] = {}
        marks: dict[ProducerKey, Watermark] = {}
        for fragment in self.fragments:
            header = fragment.header
            before = marks.get(header.key) or durable.get(header.key, Watermark())
            if header.sequence != before.sequence + 1:
                raise StorageError(
                    f"A commit would store fragment {header.sequence} of {header.key} after {before.sequence}. "
                    f"This is a defect of Rolltape; nothing was written."
                )
            first.setdefault(header.key, header.sequence)
            marks[header.key] = watermark_after(header)
        ranges = tuple(FragmentRange(*key, start, marks[key].sequence) for key, start in first.items())
        return ranges, marks
