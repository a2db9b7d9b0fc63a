"""Calls of actors: waiting for them, and what is said of those that failed.

Calls are waited for as futures where that is done often: `ray.wait` polls, which costs a millisecond of processor
time a wait.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, TypeVar

import ray
from ray.exceptions import (
    ActorDiedError,
    GetTimeoutError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    WorkerCrashedError,
)

from rolltape.schema.errors import ClusterError, RolltapeError
from rolltape.schema.messages import ProducerKey, Watermark

if TYPE_CHECKING:
    from rolltape.actors.writer_statistics import WriterStatistics

T = TypeVar("T")
GONE: Final = (RayActorError, WorkerCrashedError, NodeDiedError, OutOfMemoryError)
"""What a call says whose process is gone: crashed, killed by Ray for want of memory, or gone with its node."""


def call(method: Any, *args: Any, timeout_s: float = 30.0) -> Any:
    """Call an actor's method and wait; while the actor restarts, ask again.

    Raises ClusterError after `timeout_s`, or at once where the actor is gone for good.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        check_connected()
        try:
            return ray.get(method.remote(*args), timeout=max(0.1, deadline - time.monotonic()))
        except RayTaskError as error:
            raise unwrapped(error) from None
        except ActorDiedError as error:
            raise gone(error) from error
        except (*GONE, GetTimeoutError) as error:
            if time.monotonic() > deadline:
                raise ClusterError(f"An actor did not answer within {timeout_s:g} s: {error}") from error
            time.sleep(0.1)  # an actor that restarts refuses calls at once


def check_connected() -> None:
    """Raises ClusterError where Ray was shut down: whatever is asked then, Ray would start or join another cluster."""
    if not ray.is_initialized():
        raise ClusterError(
            "Ray was shut down in this process while a recording was open. What was acknowledged is safe. "
            "Close recordings before ray.shutdown()."
        )


def gone(error: ActorDiedError) -> ClusterError:
    """What to say of an actor that Ray will not start again."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    if error.actor_init_failed:
        return ClusterError(f"An actor could not start. {last.partition(': ')[2] or last}")
    return ClusterError(
        f"An actor of the recording was ended from outside, and Ray does not start it again: {last} What was "
        f"acknowledged is safe."
    )


def unwrapped(error: RayTaskError) -> BaseException:
    """Our own error that a remote call raised, or the error as Ray gives it."""
    cause = error.cause
    return cause if isinstance(cause, RolltapeError) else error


def ready(refs: list[Any], timeout_s: float) -> list[Any]:
    """Those of `refs` whose results are there, waiting at most `timeout_s` for the first."""
    check_connected()
    done, rest = ray.wait(refs, num_returns=1, timeout=timeout_s)
    if done and rest:
        more, _ = ray.wait(rest, num_returns=len(rest), timeout=0)
        done += more
    return done


def result(ref: Any) -> Any:
    """The result of a call that is ready. Raises our own errors as themselves."""
    check_connected()
    try:
        return ray.get(ref)
    except RayTaskError as error:
        raise unwrapped(error) from None


def answered(future: Future[T]) -> T:
    """The result of a call that is ready. Raises our own errors as themselves."""
    check_connected()
    try:
        return future.result(timeout=0)
    except RayTaskError as error:
        raise unwrapped(error) from None


def is_death(error: BaseException) -> bool:
    """Whether a call failed because its actor's process is gone."""
    return isinstance(error, GONE)


def fence(writer: Any, key: ProducerKey) -> Watermark:
    """Take nothing more from `key`; what of it is durable."""
    return call(writer.fence, key, timeout_s=120)


def flush(writer: Any, timeout_s: float) -> dict[ProducerKey, Watermark]:
    """Commit everything a writer has; what is durable."""
    return call(writer.flush, timeout_s=timeout_s)


def report(writer: Any) -> WriterStatistics:
    """What a writer did."""
    return call(writer.report)
