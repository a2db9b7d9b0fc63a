"""Go-back-N: which fragment of a producer key a writer takes next.

Rules:
1. Of each key only the next sequence is accepted, from 1 or from what is durable when the writer starts.
2. A lower one is a duplicate: its acknowledgement is due when it is durable, which may be already.
3. A higher one is refused with the sequence expected; the producer goes back and sends again from there.
4. A fenced key was replaced: whatever comes from it, old or new, is answered so.
5. A fragment whose totals do not continue those before it is not stored under any number: it raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rolltape.schema.errors import SchemaMismatch
from rolltape.schema.messages import FragmentHeader, ProducerKey, Watermark


@dataclass(frozen=True, slots=True)
class Accepted:
    """It is taken; its acknowledgement is due when the key's watermark reaches its sequence."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """It came before; `durable` says whether it is committed already."""

    durable: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """It is not the next: send again from `expected`."""

    expected: int


@dataclass(frozen=True, slots=True)
class FencedKey:
    """Its producer was replaced and must stop."""


Answer = Accepted | Duplicate | Refused | FencedKey


class Sequences:
    """What was received and what is durable, by producer key.

    Args:
        durable: watermarks at the start.
        fenced: keys that were replaced before.
    """

    def __init__(self, durable: Mapping[ProducerKey, Watermark], fenced: Iterable[ProducerKey] = ()) -> None:
        self.durable = dict(durable)
        self.received = dict(durable)
        self.fenced = set(fenced)

    def judge(self, header: FragmentHeader) -> Answer:
        """What is to be done with a fragment; changes nothing.

        Raises SchemaMismatch when it is the next but its totals are not those before it plus its own rows.
        """
        key = header.key
        if key in self.fenced:
            return FencedKey()
        before = self.received.get(key, Watermark())
        if header.sequence <= before.sequence:
            return Duplicate(durable=header.sequence <= self.durable.get(key, Watermark()).sequence)
        if header.sequence > before.sequence + 1:
            return Refused(before.sequence + 1)
        expected = Watermark(header.sequence, before.steps + header.steps, before.episodes + header.episodes)
        found = watermark_after(header)
        if (found.steps, found.episodes) != (expected.steps, expected.episodes):
            raise SchemaMismatch(
                f"Fragment {header.sequence} of {key} says it brings the totals to {found.steps} steps and "
                f"{found.episodes} episodes, but those before it and its own rows make {expected.steps} and "
                f"{expected.episodes}. The producer counts wrongly; nothing of the fragment was stored."
            )
        return Accepted()

    def accept(self, header: FragmentHeader) -> None:
        """Take a fragment that was judged `Accepted`: the one after it is expected next."""
        self.received[header.key] = watermark_after(header)

    def committed(self, watermarks: Mapping[ProducerKey, Watermark]) -> None:
        """These are durable now."""
        self.durable.update(watermarks)

    def fence(self, key: ProducerKey) -> Watermark:
        """Answer everything from `key` with `FencedKey` from now on; returns what was received of it."""
        self.fenced.add(key)
        return self.received.get(key, Watermark())


def watermark_after(header: FragmentHeader) -> Watermark:
    """The watermark of its key when this fragment is durable."""
    return Watermark(
        header.sequence,
        header.steps_total,
        header.episodes_total,
        header.payload_version,
        header.mismatches,
        header.skipped,
    )
