"""A cluster's job server: the part of Ray's client that Rolltape uses, with errors that say what to do."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from rolltape.schema.errors import ClusterError, ConfigError

from .job import RUN_METADATA, Job

POLL_S: Final = 1.0
NODES_TRIES: Final = 60
DEFAULT_ADDRESS: Final = "http://127.0.0.1:8265"
TOKEN: Final = (
    "A cluster that asks for a token (Ray 2.60 turns that on by itself) needs RAY_AUTH_MODE=token and its token in "
    "~/.ray/auth_token or RAY_AUTH_TOKEN."
)


class JobServer:
    """Jobs of one cluster.

    Args:
        address: of the head's dashboard, such as `http://head:8265`.

    Raises:
        ClusterError: nobody answers, or the token is wrong.
        ConfigError: it is no URL.
    """

    def __init__(self, address: str) -> None:
        if "://" not in address:
            raise ConfigError(
                f"--address: expected the URL of the head's dashboard, such as http://head:8265, got {address!r}. "
                "Without it RAY_API_SERVER_ADDRESS is used."
            )
        self.address = address
        _bring_token()
        with self._errors():
            from ray.job_submission import JobSubmissionClient

            self._client = JobSubmissionClient(address)

    def nodes(self, *, pause: Callable[[float], object] = time.sleep) -> list[dict[str, float]]:
        """What each living node has in all, by Ray's names; a head that has just started lists itself a little later.

        Raises ClusterError where none is listed after `NODES_TRIES` seconds.
        """
        for _ in range(NODES_TRIES):
            if found := self._listed():
                return found
            pause(POLL_S)
        raise ClusterError(
            f"The cluster at {self.address} lists no living node. Has its head just started? `ray status` there says "
            f"more."
        )

    def _listed(self) -> list[dict[str, float]]:
        from ray.util.state import list_nodes

        with self._errors():
            found: list[Any] = list_nodes(address=self.address, limit=10_000, raise_on_missing_output=False)
        return [dict(node.resources_total) for node in found if node.state == "ALIVE" and node.resources_total]

    def submission_ids(self) -> list[str]:
        """Of all jobs that the cluster remembers."""
        with self._errors():
            return [job.submission_id for job in self._client.list_jobs() if job.submission_id]

    def submit(self, job: Job, runtime_env: dict[str, Any]) -> None:
        """Start a job."""
        with self._errors():
            self._client.submit_job(
                entrypoint=job.entrypoint,
                submission_id=job.submission_id,
                runtime_env=runtime_env,
                metadata=job.metadata,
            )

    def run_of(self, submission_id: str) -> str | None:
        """The run that a job was given; None where the cluster knows no such job, or none of ours."""
        if submission_id not in self.submission_ids():
            return None
        with self._errors():
            return (self._client.get_job_info(submission_id).metadata or {}).get(RUN_METADATA)

    def status(self, submission_id: str) -> tuple[str, str]:
        """`PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED` or `STOPPED`, and what Ray says of it."""
        with self._errors():
            info = self._client.get_job_info(submission_id)
        return str(info.status.value), (info.message or "").strip()

    def logs(self, submission_id: str) -> str:
        """All that the job has printed so far."""
        with self._errors():
            return self._client.get_job_logs(submission_id)

    def stop(self, submission_id: str) -> None:
        """Ask a job to end: SIGTERM, by which a run makes everything durable."""
        with self._errors():
            self._client.stop_job(submission_id)

    def follow(
        self, submission_id: str, write: Callable[[str], object], *, pause: Callable[[float], object] = time.sleep
    ) -> tuple[str, str]:
        """Write what the job prints, as it comes, until it has ended; how it ended."""
        shown = 0
        while True:
            status, message = self.status(submission_id)  # before the logs: what was printed last is in them
            text = self.logs(submission_id)
            if len(text) > shown:
                write(text[shown:])
                shown = len(text)
            if status in ENDED:
                return status, message
            pause(POLL_S)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        import requests

        try:
            yield
        except (ConnectionError, requests.exceptions.RequestException) as error:
            raise ClusterError(
                f"No job server answers at {self.address} ({type(error).__name__}). Start the head with a dashboard "
                f"(`pip install 'ray[default]'`, `ray start --head`) and give its address: --address http://head:8265."
            ) from error
        except ImportError as error:
            raise ClusterError(f"Ray's job client cannot be used: {error}. pip install 'ray[default]'.") from error
        except Exception as error:  # the client raises RuntimeError, and its own classes for a wrong token
            text = str(error)
            if "401" in text or "403" in text or "uthenticat" in text or "uthoriz" in text:
                raise ClusterError(f"The cluster at {self.address} refuses: {text.splitlines()[0]} {TOKEN}") from error
            if isinstance(error, RuntimeError | ValueError):
                raise ClusterError(f"The cluster at {self.address} says: {text.strip()}") from error
            raise


ENDED: Final = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})


def address_of(given: str | None) -> str:
    """The address of a job server: what was given, RAY_API_SERVER_ADDRESS or RAY_ADDRESS where that is one, this
    machine."""
    named = given or os.environ.get("RAY_API_SERVER_ADDRESS") or ""
    if not named and os.environ.get("RAY_ADDRESS", "").startswith("http"):
        named = os.environ["RAY_ADDRESS"]
    return named or DEFAULT_ADDRESS


def _bring_token() -> None:
    """Use the token that is there, as for a cluster that is joined."""
    from rolltape.actors.on_ray.cluster import bring_token, silence

    silence()
    bring_token()
