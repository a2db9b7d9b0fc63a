"""Why a row is not in a recording: the one table of causes.

Rules:
1. Whoever drops something names one of these; `cause_of` refuses anything else.
2. `produced = in the recording + lost + gone` holds for every producer and table. What is `unseen` was only not shown:
   the recording has it.
3. A cause is never renamed: recordings carry its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from .errors import ConfigError

Stage = Literal["lost", "gone", "unseen"]
"""`lost`: produced and never durable. `gone`: was durable and is not there any more. `unseen`: recorded, not shown."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause: its name in the ledger, when it strikes, and what it means."""

    name: str
    stage: Stage
    meaning: str


_ALL: Final = (
    Cause("killed", "lost", "the producer's process died before these rows were durable; a successor went on"),
    Cause("crashed", "lost", "the driver died, and with it all of the run, before these rows were durable"),
    Cause("gave_up", "lost", "the run was ended although these rows could not be made durable"),
    Cause("tail_lost", "lost", "the newest commit is damaged, marker and parts: it does not count, see quarantine"),
    Cause("queue_full", "lost", "log records came faster than they could be sent; logging never waits"),
    Cause("refused", "lost", "steps of payload version 0 that did not fit; the table mismatches says in what"),
    Cause("damaged", "gone", "the part that held these rows is damaged; repair moved it to quarantine"),
    Cause("missing", "gone", "the part that held these rows is not there, though its marker says that it was"),
    Cause("marker_lost", "gone", "the marker of the commit that held these rows is damaged or not there"),
    Cause("retention", "gone", "removed by a rule of retention that the user set"),
    Cause("no_viewer", "unseen", "nobody had the stream in view any more"),
    Cause("viewer_hidden", "unseen", "the viewer's page was in the background"),
    Cause("no_credit", "unseen", "a viewer, or the gateway, had no credit left for the stream"),
    Cause("conflated", "unseen", "a newer picture of the stream took its place before it was sent"),
    Cause("superseded", "unseen", "a newer picture of the stream took its place in the viewer before it was drawn"),
    Cause("view_throttle", "unseen", "the viewer asked for fewer pictures a second"),
    Cause("early_buffer", "unseen", "it came before the viewer was ready, and the early buffer was full"),
    Cause("disconnected", "unseen", "the viewer or the gateway was gone before it was shown"),
    Cause("encode_error", "unseen", "it could not be taken, encoded or sent"),
)

CAUSES: Final[dict[str, Cause]] = {cause.name: cause for cause in _ALL}
"""By name, in the order of the documentation."""


def cause_of(name: str) -> Cause:
    """The cause of that name. Raises ConfigError for one that is not in the table."""
    found = CAUSES.get(name)
    if found is None:
        raise ConfigError(f"cause: expected one of {', '.join(CAUSES)}, got {name!r}")
    return found
