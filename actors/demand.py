"""What a run asks from a cluster, and whether the cluster can ever give it: checked before anything starts.

A process is placed on one node, so that totals are not enough: two CPUs free on each of two nodes carry no process that
wants three. Processes are tried on the nodes the largest first, which finds a place wherever sizes are alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rolltape.schema.config_resources import ResourcesConfig
from rolltape.schema.errors import ClusterError

EPSILON: Final = 1e-6
UNITS: Final = {"CPU": "CPUs", "GPU": "GPUs", "memory": "bytes of memory"}


@dataclass(frozen=True, slots=True)
class Share:
    """Processes of one kind.

    Attributes:
        name: `worker`, `hub`, `writer` or `program`.
        count: how many.
        each: what one asks for, by Ray's names: `CPU`, `GPU`, `memory` in bytes.
    """

    name: str
    count: int
    each: Mapping[str, float]


def demand_of(workers: int, resources: ResourcesConfig) -> list[Share]:
    """What a run with so many workers asks for; the writer and the hub first, because nothing goes without them."""
    return [
        Share("writer", 1, _asked(resources.writer_cpus, 0, resources.writer_memory_bytes)),
        Share("hub", 1, _asked(resources.hub_cpus, 0, resources.hub_memory_bytes)),
        Share(
            "worker",
            workers,
            _asked(resources.cpus_per_worker, resources.gpus_per_worker, resources.memory_per_worker_bytes),
        ),
    ]


def program_share(cpus: float, gpus: float, memory_bytes: int) -> Share:
    """What the program of `rolltape run` asks for."""
    return Share("program", 1, _asked(cpus, gpus, memory_bytes))


def check_demand(demand: Sequence[Share], nodes: Sequence[Mapping[str, float]]) -> None:
    """Refuse what the cluster can never place.

    Args:
        demand: of the run.
        nodes: what each living node has in all, by Ray's names.

    Raises:
        ClusterError: with what is missing and what would fit.
    """
    left = [dict(node) for node in nodes]
    placed: list[tuple[Share, int]] = []
    for share in demand:
        fit = _place(share, left)
        placed.append((share, fit))
        if fit < share.count:
            raise ClusterError(_refusal(share, fit, demand, nodes))


def _place(share: Share, left: list[dict[str, float]]) -> int:
    """Put processes on nodes as far as they go; how many found a place. What they take is taken from `left`."""
    asked = {name: amount for name, amount in share.each.items() if amount > 0}
    if not asked:
        return share.count
    placed = 0
    for node in sorted(left, key=lambda node: -node.get("CPU", 0.0)):
        room = min(int((node.get(name, 0.0) + EPSILON) // amount) for name, amount in asked.items())
        taken = min(room, share.count - placed)
        for name, amount in asked.items():
            node[name] = node.get(name, 0.0) - taken * amount
        placed += taken
    return placed


def _refusal(share: Share, fit: int, demand: Sequence[Share], nodes: Sequence[Mapping[str, float]]) -> str:
    each = _said(share.each)
    who = f"{share.count} workers of {each}" if share.name == "worker" else f"the {share.name} ({each})"
    names = [name for name in UNITS if any(s.each.get(name, 0) for s in demand)]
    need = {name: sum(s.count * s.each.get(name, 0.0) for s in demand) for name in names}
    have = {name: sum(node.get(name, 0.0) for node in nodes) for name in names}
    short = {name: need[name] - have[name] for name in names if need[name] - have[name] > EPSILON}
    largest = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in names}
    text = (
        f"The cluster cannot place {who}: the run needs {_said(need)}, the cluster has {_said(have)} on {len(nodes)} "
        f"node{'' if len(nodes) == 1 else 's'} (at most {_said(largest)} on one)."
    )
    text += f" Missing: {_said(short)}." if short else " It is enough in all, but not on single nodes."
    if share.name == "program":
        return f"{text} Ask for less: --cpus, --gpus, --memory."
    if share.name != "worker":
        return f"{text} Ask for less: resources.{share.name}_cpus, resources.{share.name}_memory_bytes."
    if fit:
        text += f" {fit} would fit: num_workers={fit} (fleet.num_workers)"
    else:
        text += " Not one would fit"
    cpus = have.get("CPU", 0.0) - sum(s.each.get("CPU", 0.0) for s in demand if s.name != "worker")
    if share.each.get("CPU") and cpus > 0 and len(nodes) == 1 and "CPU" in short:
        text += f", or {cpus / share.count:.2g} CPUs for each (cpus_per_worker)"
    return text + "."


def _asked(cpus: float, gpus: float, memory: float) -> dict[str, float]:
    return {name: amount for name, amount in (("CPU", cpus), ("GPU", gpus), ("memory", memory)) if amount}


def _said(amounts: Mapping[str, float]) -> str:
    parts = []
    for name, amount in amounts.items():
        if name == "memory":
            parts.append(f"{amount / (1 << 30):.3g} GiB of memory")
        else:
            parts.append(f"{amount:g} {UNITS[name] if amount != 1 else UNITS[name][:-1]}")
    return " and ".join(parts) or "nothing"
