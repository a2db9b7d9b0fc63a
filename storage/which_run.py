"""Which run is meant: by itself, by its id, by the beginning of one, or as the latest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from rolltape.schema.errors import ConfigError, LakeNotFound

from .listing import LakeListing

if TYPE_CHECKING:
    from .runs import Run

WhichRun: TypeAlias = "Run | str | Any"
"""A `Run`, anything with a `run_id`, a run id, the beginning of one, or "latest"."""


def resolved(listing: LakeListing, run: WhichRun) -> str:
    """The run id that is meant.

    Raises:
        LakeNotFound: none fits, or several do; the message lists them.
        ConfigError: it is nothing that names a run.
    """
    run_ids = listing.run_ids()
    wanted = run if isinstance(run, str) else getattr(run, "run_id", None)
    if not isinstance(wanted, str):
        raise ConfigError(f"run: expected a run, a run id, its beginning or 'latest', got {run!r}")
    if wanted == "latest":
        if not run_ids:
            how = "rolltape record CartPole-v1 --steps 1000"
            raise LakeNotFound(f"No runs in {listing.path} yet. Record one: `{how} --lake {listing.path}`.")
        return run_ids[-1]
    found = [run_id for run_id in run_ids if run_id.startswith(wanted.upper())] if wanted else []
    if len(found) == 1:
        return found[0]
    if not found:
        near = ", ".join(run_ids[-3:]) or "there are none"
        raise LakeNotFound(
            f"No run {wanted!r} in {listing.path}. The newest runs: {near}. `rolltape runs` or lake.runs() lists all."
        )
    some = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
    raise LakeNotFound(f"{wanted!r} is the beginning of {len(found)} runs: {some}. Give more of the id.")
