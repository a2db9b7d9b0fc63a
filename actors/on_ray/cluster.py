"""The Ray that this process uses: started in this machine or joined, how large it is, and what it has room for."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import psutil
import ray
from ray._private import utils as ray_utils

from rolltape.actors.demand import Share, check_demand, demand_of
from rolltape.schema.config import BudgetConfig
from rolltape.schema.config_resources import ResourcesConfig
from rolltape.schema.errors import ClusterError

NAMESPACE: Final = "rolltape"
KNOCK_S: Final = 10.0
START_S: Final = 300.0
"""A node that has to install a job's packages first takes a minute and more."""
EMBEDDED_STORE_BYTES: Final = 2 << 30
UNWATCHED: Final = {"task_events_report_interval_ms": 0, "enable_metrics_collection": False}
"""Lists of tasks and metrics are for a dashboard that is not there. docs/decisions/0012-who-waits-for-whom.md"""

STARTS: Final = 2
TOO_SLOW: Final = "timed out during startup"
HOW_TO_START: Final = "Its processes need a moment of this machine and some room in /tmp: try again when that is there."
HOW_TO_CONNECT: Final = (
    "Check the address, or unset RAY_ADDRESS to run on this machine alone. A cluster that asks for a token (Ray 2.60 "
    "turns that on by itself) needs RAY_AUTH_MODE=token and its token in ~/.ray/auth_token or RAY_AUTH_TOKEN."
)


def ensure_ray() -> None:
    """Connect to the cluster that RAY_ADDRESS names, or start Ray in this machine; nothing when that is done already.

    Raises ClusterError.
    """
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    silence()
    if address:
        _knock(address)
    try:
        with _signals_wait():
            if address:
                bring_token()
                ray.init(namespace=NAMESPACE, logging_level=logging.WARNING)
            else:
                _start_here()
    except Exception as error:  # Ray raises a plain Exception for what it is slow with
        where = f"the cluster at RAY_ADDRESS={address}" if address else "Ray on this machine"
        raise ClusterError(
            f"Cannot reach {where}: {str(error).rstrip('.')}. " + (HOW_TO_CONNECT if address else HOW_TO_START)
        ) from error


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C wait for the end of the block, which starts Ray, and keep the program's handlers of them.

    1. What a handler raises in the callbacks of a fork Python drops, with a lock of `logging` in hand; Ray forks often.
    2. The second signal of a kind does not wait: a Ray that does not start is left so.
    3. Ray sets a handler of SIGTERM of its own, and below that one that prints stacks. Where the program had one that
       comes back; where it had none Ray's stays, which exits. The one below is put away.
    """
    if threading.current_thread() is not threading.main_thread():  # handlers run in that one alone
        yield
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    waiting: list[tuple[int, FrameType | None]] = []

    def wait(number: int, frame: FrameType | None) -> None:
        waiting.append((number, frame))
        if [one for one, _ in waiting].count(number) > 1 and callable(before[number]):
            before[number](number, frame)

    own = {number: handler for number, handler in before.items() if handler not in (signal.SIG_DFL, None)}
    for number in own:
        signal.signal(number, wait)
    setter = getattr(ray_utils, "set_sigterm_handler", None)
    if setter is not None and signal.SIGTERM in own:
        ray_utils.set_sigterm_handler = lambda sigterm_handler: None
    try:
        yield
    finally:
        if setter is not None:
            ray_utils.set_sigterm_handler = setter
        rays = {} if signal.getsignal(signal.SIGTERM) is None else {signal.SIGTERM: signal.getsignal(signal.SIGTERM)}
        for number, handler in (rays | own).items():
            signal.signal(number, handler)
        for number, frame in waiting:
            if callable(own[number]):
                own[number](number, frame)


def starts_here() -> bool:
    """Whether `ensure_ray` would start Ray in this machine: it runs nowhere yet, and no cluster is named."""
    return not ray.is_initialized() and not os.environ.get("RAY_ADDRESS")


def _start_here() -> None:
    """Start Ray in this machine, once more where its own processes took longer than the 30 s that Ray gives them."""
    for again in range(STARTS):
        try:
            ray.init(
                address="local",  # not a cluster that happens to run on this machine: it would have to be named
                namespace=NAMESPACE,
                include_dashboard=False,
                logging_level=logging.WARNING,
                object_store_memory=_store_bytes(),
                _system_config=UNWATCHED,
            )
            return
        except Exception as error:
            ray.shutdown()
            if TOO_SLOW not in str(error) or again + 1 == STARTS:
                raise


def _knock(address: str) -> None:
    """Raise ClusterError where nobody listens; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
    except OSError as error:
        raise ClusterError(
            f"Nobody answers at RAY_ADDRESS={address} ({error.strerror or error}). Start the cluster, correct "
            f"the address, or unset RAY_ADDRESS to run on this machine alone."
        ) from error


def bring_token() -> None:
    """Use the token that is there: a cluster started by `ray start` asks for it, but an explicit address brings
    none."""
    try:  # Ray reads its settings when it is imported, and only this function of its own reads them again
        from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    except ImportError:
        return  # another Ray: RAY_AUTH_MODE must be set by hand, as HOW_TO_CONNECT says
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def silence() -> None:
    """Keep from the terminal what Ray and libraries say on every start; what workers print still comes through."""
    # "Token authentication is enabled": as it should be.
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")


def _store_bytes() -> int:
    return max(128 << 20, min(EMBEDDED_STORE_BYTES, int(psutil.virtual_memory().available * 0.3)))


def store_bytes() -> int:
    """Size of the object store of the cluster's smallest node, in bytes."""
    sizes = [int(n["Resources"].get("object_store_memory", 0)) for n in ray.nodes() if n["Alive"]]
    return min((s for s in sizes if s), default=EMBEDDED_STORE_BYTES)


def total_bytes(budget: BudgetConfig) -> int:
    """What all producers together may have in flight, in bytes; half of the store where nothing was said."""
    return budget.total_bytes or store_bytes() // 2


def check_resources(workers: int, resources: ResourcesConfig, *more: Share) -> None:
    """Refuse a run that the cluster can never place. Raises ClusterError with what is missing and what would fit."""
    check_demand([*demand_of(workers, resources), *more], [node["Resources"] for node in ray.nodes() if node["Alive"]])


def cluster_address() -> str:
    """Where a program of ours reaches the cluster that this process uses."""
    return ray.get_runtime_context().gcs_address


