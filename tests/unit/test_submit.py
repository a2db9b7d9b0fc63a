"""What is submitted, and what is checked before; the cluster is one of paper."""

import json
import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from rolltape.schema.config_presets import Host
from rolltape.schema.config_sources import RUN_VARIABLE
from rolltape.schema.errors import ClusterError, ConfigError
from rolltape.scripts.cluster import job_server
from rolltape.scripts.cluster.job import Job, job_of, next_try, run_in, runtime_env
from rolltape.scripts.cluster.job_server import DEFAULT_ADDRESS, JobServer, address_of
from rolltape.scripts.cluster.packing import LAYERS, pack
from rolltape.storage import configuration
from rolltape.storage.configuration import SETTINGS_VARIABLE, configured, travelling
from rolltape.storage.layout import is_run_id
from rolltape.storage.summaries import created_at
from rolltape.storage.wired_run import take_run_id, was_started
from tests.command_line import exit_code

ULID = "01J0000000000000000000000A"


class Paper(JobServer):
    """A cluster of one node that runs every job at once."""

    def __init__(self, address: str) -> None:
        self.address = address

    jobs: list[tuple[Job, dict[str, Any]]] = []  # noqa: RUF012
    stopped: list[str] = []  # noqa: RUF012
    packed: list[str] = []  # noqa: RUF012

    def _listed(self) -> list[dict[str, float]]:
        return [{"CPU": 4.0}]

    def submission_ids(self) -> list[str]:
        return [job.submission_id for job, _ in self.jobs]

    def run_of(self, submission_id: str) -> str | None:
        return {job.submission_id: job.run_id for job, _ in self.jobs}.get(submission_id)

    def submit(self, job: Job, runtime_env: dict[str, Any]) -> None:
        self.jobs.append((job, runtime_env))
        self.packed += [path.name for path in Path(runtime_env["py_modules"][0]).iterdir()]

    def status(self, submission_id: str) -> tuple[str, str]:
        return ("STOPPED" if submission_id in self.stopped else "SUCCEEDED"), ""

    def logs(self, submission_id: str) -> str:
        return f"log of {submission_id}\n"

    def stop(self, submission_id: str) -> None:
        self.stopped.append(submission_id)


@pytest.fixture(autouse=True)
def _paper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(job_server, "JobServer", Paper)
    monkeypatch.setattr(configuration, "host_of", lambda _lake: Host(4, 16 << 30, 200e6))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for kept in (Paper.jobs, Paper.stopped, Paper.packed):
        kept.clear()


def test_a_recording_is_submitted_with_its_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rolltape.toml").write_text("[durable.commit]\nmax_age_s = 0.4\n")
    assert (
        exit_code("submit", "--lake", "/shared/lake", "--set", "durable.seed=7", "record", "CartPole-v1", "--steps", "10")
        == 0
    )
    ((job, env),) = Paper.jobs
    assert capsys.readouterr().out == f"log of {job.submission_id}\n"
    assert job.submission_id == f"rolltape-{job.run_id}" and is_run_id(job.run_id)
    assert shlex.split(job.entrypoint)[-4:] == ["record", "CartPole-v1", "--steps", "10"]
    assert env["env_vars"][RUN_VARIABLE] == job.run_id
    assert int(env["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"]) >= 30
    assert {"__init__.py", *LAYERS} <= set(Paper.packed)
    there = configured(environ={SETTINGS_VARIABLE: env["env_vars"][SETTINGS_VARIABLE]}, folder=tmp_path / "job")
    assert there.origin("durable.commit.max_age_s").said == "config:durable.commit in rolltape.toml"
    assert there.value("durable.commit.max_age_s") == 0.4
    assert there.value("durable.seed") == 7
    assert str(there.value("lake")) == "/shared/lake"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["record", "CartPole-v1", "--steps", "1"], "lake: 'lake' is relative"),
        (["--lake", "/l", "record", "CartPole-v1", "--steps", "1", "--commit-age-s", "99"], "max_age_s: 99.0"),
        (["--lake", "/l", "record", "CartPole-v1"], "--steps"),
        (["--lake", "/l", "record", "CartPole-v1", "--stepz", "1"], "--stepz"),
        (["--lake", "/l", "record", "X-v0", "--steps", "1", "--envs", "9", "--workers", "9"], "cannot place 9 workers"),
        (["--lake", "/l", "record", "X-v0", "--steps", "1", "--policy", "no.such:thing"], "no.such"),
        (["--lake", "/l", "--set", "durable.sed=1", "record", "X-v0", "--steps", "1"], "Did you mean durable.seed"),
        (["--lake", "/l", "--submission-id", "a b", "record", "X-v0", "--steps", "1"], "--submission-id"),
        (["--working-dir", "nowhere", "record", "X-v0", "--steps", "1"], "--working-dir"),
        (["teach", "me"], "expected record"),
        (["--stop", "a", "record", "X-v0"], "give either"),
        ([], "give either"),
    ],
)
def test_what_is_wrong_is_said_here(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("submit", *arguments) in (1, 2)
    err = capsys.readouterr().err
    assert said in err and "all right" not in err
    assert Paper.jobs == []


def test_a_retry_has_the_run_of_the_first_try(capsys: pytest.CaptureFixture[str]) -> None:
    what = ["record", "CartPole-v1", "--steps", "10"]
    assert exit_code("submit", "--lake", "/l", "--no-follow", *what) == 0
    first = capsys.readouterr().out.strip()
    assert exit_code("submit", "--lake", "/l", "--no-follow", "--retry", first, *what) == 0
    assert exit_code("submit", "--lake", "/l", "--no-follow", "--retry", first, *what) == 0
    assert [job.submission_id for job, _ in Paper.jobs] == [first, f"{first}-try2", f"{first}-try3"]
    assert len({job.run_id for job, _ in Paper.jobs}) == 1


def test_jobs_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("submit", "--stop", "a") == 0
    assert exit_code("submit", "--status", "a") == 0
    assert exit_code("submit", "--watch", "b") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a: STOPPED"
    assert json.loads(lines[1]) == {"submission_id": "a", "status": "STOPPED", "message": ""}
    assert lines[2] == "log of b"


def test_a_name_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    what = ["--lake", "/l", "--no-follow"], ["record", "CartPole-v1", "--steps", "10"]
    assert exit_code("submit", *what[0], "--submission-id", "nightly-1", *what[1]) == 0
    assert exit_code("submit", *what[0], "--retry", "nightly-1", *what[1]) == 0
    assert exit_code("submit", *what[0], "--retry", "nightly-1-try2", *what[1]) == 0
    assert [job.submission_id for job, _ in Paper.jobs] == ["nightly-1", "nightly-1-try2", "nightly-1-try3"]
    (run_id,) = {job.run_id for job, _ in Paper.jobs}
    assert abs(created_at(run_id).timestamp() - time.time()) < 60, "in the order of other runs"
    assert exit_code("submit", *what[0], "--retry", "nightly-2", *what[1]) == 1
    assert "--retry: the cluster knows no job 'nightly-2' of ours" in capsys.readouterr().err


def test_a_program_is_submitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    what = ["submit", "--lake", "/l", "--no-follow", "run"]
    assert exit_code(*what, "--cpus", "4", "--", "python", "train.py", "--seed", "1") == 0
    ((job, _),) = Paper.jobs
    assert shlex.split(job.entrypoint)[-8:] == ["run", "--cpus", "4", "--", "python", "train.py", "--seed", "1"]
    assert exit_code(*what, "--cpus", "5", "--", "python", "train.py") == 1
    assert "cannot place the program (5 CPUs)" in capsys.readouterr().err
    assert exit_code(*what, "--cpu", "1", "--", "python", "train.py") == 2
    assert "No such option" in capsys.readouterr().err
    assert len(Paper.jobs) == 1


def test_names_of_runs() -> None:
    assert run_in(f"rolltape-{ULID}") == run_in(f"rolltape-{ULID}-try7") == ULID
    assert run_in("nightly-3") is None
    assert created_at("7" + "Z" * 25).year == 9999
    assert next_try("a-try2", ["a", "a-try2", "a-try9", "ab-try20"]) == "a-try10"


def test_what_follows_is_shown_once() -> None:
    class Slow(Paper):
        seen = 0

        def status(self, submission_id: str) -> tuple[str, str]:
            self.seen += 1
            return ("RUNNING" if self.seen < 3 else "FAILED"), "exit code 1"

        def logs(self, submission_id: str) -> str:
            return "one\ntwo\nthree\n"[: 4 * self.seen + (2 if self.seen > 2 else 0)]

    shown: list[str] = []
    paused: list[float] = []
    assert Slow("x").follow("a", shown.append, pause=paused.append) == ("FAILED", "exit code 1")
    assert "".join(shown) == "one\ntwo\nthree\n" and len(shown) == 3
    assert paused == [1.0, 1.0]


def test_what_travels_and_what_does_not(tmp_path: Path) -> None:
    given = configured(folder=tmp_path, environ={"ROLLTAPE_LAKE": "/l", "ROLLTAPE_PROFILE": "minimum"})
    assert {row["key"] for row in travelling(given)} == {"lake", "profile"}
    with pytest.raises(ConfigError, match="is not what `rolltape submit` writes"):
        configured(environ={SETTINGS_VARIABLE: "{"})
    there = configured(environ={SETTINGS_VARIABLE: "[]", "ROLLTAPE_LAKE": "/of-the-cluster"}, folder=tmp_path)
    assert str(there.value("lake")) == "lake"


def test_a_run_id_is_taken_once(tmp_path: Path) -> None:
    environ = {RUN_VARIABLE: ULID}
    assert (take_run_id(environ), take_run_id(environ)) == (ULID, None)
    with pytest.raises(ConfigError, match="is no run id"):
        take_run_id({RUN_VARIABLE: "x"})
    assert not was_started(tmp_path, ULID)


def test_the_package_is_complete_wherever_its_parts_lie(tmp_path: Path) -> None:
    package = pack(tmp_path)
    assert (package / "__init__.py").exists()
    assert (package / "actors" / "fleet.py").exists() and (package / "scripts" / "cli" / "record.py").exists()
    assert not list(package.rglob("__pycache__"))


def test_what_ray_brings() -> None:
    job = Job("a", ULID, "true", {"A": "1"})
    assert runtime_env(job, Path("/p/rolltape"), None, []) == {"env_vars": {"A": "1"}, "py_modules": ["/p/rolltape"]}
    assert runtime_env(job, Path("/p"), Path("/w"), ["x"])["pip"] == ["x"]
    with pytest.raises(ConfigError, match="relative"):
        job_of(["record"], configured(environ={}), None, lake=Path("lake"))


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert address_of(None) == DEFAULT_ADDRESS
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert address_of(None) == DEFAULT_ADDRESS, "that is not a job server"
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    assert address_of(None) == "http://head:8265"
    assert address_of("http://other:1") == "http://other:1"


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ConnectionError("refused"), "No job server answers at http://h:1"),
        (RuntimeError("Request failed with status code 401: Unauthorized"), "RAY_AUTH_MODE=token"),
        (RuntimeError("Job a already exists"), "says: Job a already exists"),
    ],
)
def test_errors_of_the_client_say_what_to_do(raised: Exception, said: str) -> None:
    with pytest.raises(ClusterError) as told, Paper("http://h:1")._errors():
        raise raised
    assert said in str(told.value)


def test_a_head_that_has_just_started_is_waited_for() -> None:
    class Fresh(Paper):
        after = 2

        def _listed(self) -> list[dict[str, float]]:
            return [{"CPU": 2.0}] if len(paused) >= self.after else []

    paused: list[float] = []
    assert Fresh("x").nodes(pause=paused.append) == [{"CPU": 2.0}]
    assert paused == [1.0, 1.0]
    Fresh.after = 10_000
    with pytest.raises(ClusterError, match="lists no living node"):
        Fresh("x").nodes(pause=paused.append)
