"""The versions of the step payload that there are, and which of them a producer and a run agree on.

A *payload version* is the form in which a producer speaks of its steps. Stored is always the newest: what was said in
an older one is upgraded on its way, and counted under the version that it was said in.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from .columns import PAYLOAD_VERSION
from .errors import VersionRefused


@dataclass(frozen=True, slots=True)
class PayloadVersion:
    """One version: its form, and what Rolltape does with it."""

    version: int
    name: str
    form: str
    spoken_by: str
    reads: str
    replays: str


PAYLOAD_VERSIONS: Final = (
    PayloadVersion(
        0,
        "legacy",
        "one flat JSON object a step",
        "telemetry from before Rolltape: JSON Lines files, programs that send such steps",
        "upgraded step by step; what has no column goes to info",
        "no: it has no seeds, no resets and no spaces",
    ),
    PayloadVersion(
        1,
        "current",
        "Arrow record batches with the columns of this page",
        "Fleet, rolltape.record, rolltape import-v0 after its upgrade",
        "as it is",
        "yes, where an episode's seed is known",
    ),
)
ALL: Final = tuple(payload.version for payload in PAYLOAD_VERSIONS)
"""The numbers of all versions, oldest first."""


def taken_from(oldest: int) -> tuple[int, ...]:
    """The versions that a run takes whose `oldest_payload` this is."""
    return tuple(version for version in ALL if version >= oldest)


def negotiate(spoken: Collection[int], taken: Collection[int], who: str, run_id: str) -> int:
    """The newest version that a producer speaks and a run takes.

    Args:
        spoken: what the producer announces.
        taken: what the run takes.
        who: the producer, for the message.
        run_id: the run, for the message.

    Raises:
        VersionRefused: there is none; the message says what either side knows and what to do.
    """
    common = set(spoken) & set(taken)
    if common:
        return max(common)
    said = " and ".join(map(str, sorted(spoken))) or "none"
    wanted = " and ".join(map(str, sorted(taken)))
    if spoken and min(spoken) > PAYLOAD_VERSION:
        todo = "It is newer than this run: record with the newer Rolltape."
    else:
        todo = f"Upgrade the producer, or let the run take it: oldest_payload={max(spoken, default=0)}."
    raise VersionRefused(f"{who} speaks payload version {said}, run {run_id} takes only {wanted}. {todo}")
