"""Log records that were committed: in the lake, by SQL, on the command line."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import rolltape
from rolltape.schema import log_codes
from rolltape.schema.config import CommitConfig
from rolltape.schema.errors import ConfigError
from rolltape.schema.log_codes import LogCode
from rolltape.schema.log_rows import SCHEMA, LogRow, record_batch
from rolltape.schema.messages import FIRST_STREAM, FragmentHeader, ProducerKey
from rolltape.scripts.cli import logs as command
from rolltape.scripts.cli.choices import choices_file
from rolltape.storage.commits import CommitLog
from rolltape.storage.layout import RunFolder
from rolltape.storage.log_tail import LogTail
from rolltape.storage.run_info import write_end_info
from tests.command_line import exit_code
from tests.lakes import new_run

CODES = (log_codes.RUN_STARTED, log_codes.WORKER_STARTED, log_codes.WRITER_RETRIES, log_codes.WORKER_REPLACED)


class Logged:
    """A run into which a test puts records."""

    def __init__(self, lake: Path) -> None:
        self.folder: RunFolder = new_run(lake)
        self.log = CommitLog.open(self.folder, 0, CommitConfig(durability="process"))
        self.sequence = 0

    def say(self, *codes: LogCode, message: str = "said") -> None:
        self.sequence += 1
        start = 1_790_000_000_000_000 + 1000 * self.sequence
        rows = [
            LogRow(
                start + at, code, f"{message} {at}", '{"a": 1}', at or None, 0 if at else None, None, None, "Test-v0"
            )
            for at, code in enumerate(codes)
        ]
        batch = record_batch(rows, self.folder.run_id, self.sequence)
        key = ProducerKey(FIRST_STREAM - 5, 0)
        header = FragmentHeader(key, self.sequence, 0, 0, 0, 0, batch.nbytes, 1, 2)
        self.log.offer(header, {"logs": batch})
        self.log.commit(self.log.take())


@pytest.mark.parametrize("n", [1, 3, 500, 501])
def test_a_batch_says_what_its_rows_say(n: int) -> None:
    """Columns of one value are kept for the next batch: it must not show."""
    for codes in (CODES[:1], CODES, CODES[:1]):
        for few in (1, 3):
            rows = [
                LogRow(
                    10**15 + at, codes[at % len(codes)], f"said {at}", None if at % 2 else "{}", None if few > 1 < at else 7,
                    at % few, at % few or None, few * 10**12, f"Test-v{at % few}",
                )
                for at in range(n)
            ]  # fmt: skip
            batch = record_batch(rows, "01K", few)
            batch.validate(full=True)
            assert batch.schema == SCHEMA
            for row, found in zip(rows, batch.to_pylist(), strict=True):
                code = row.code
                assert found == {
                    "run_id": "01K", "agent_id": "agent_0", "fragment": few, "worker": row.worker,
                    "incarnation": row.incarnation, "sub_env": row.sub_env, "episode": row.episode,
                    "time": datetime.fromtimestamp(0, UTC) + timedelta(microseconds=row.time_us), "level": code.level,
                    "severity": code.severity, "code": code.code, "component": code.component,
                    "subcomponent": code.subcomponent, "message": row.message, "data": row.data, "origin": "record",
                    "env_id": row.env_id, "host": socket.gethostname(), "pid": os.getpid(),
                }  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Logged:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROLLTAPE_LAKE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    run = Logged(tmp_path / "lake")
    run.say(*CODES)
    return run


def test_a_run_s_logs(run: Logged) -> None:
    lake = rolltape.open("lake")
    mine = lake.run()
    assert [row["code"] for row in mine.logs().to_dicts()] == [code.code for code in CODES]
    assert mine.logs(level="warning").select("component").fetchall() == [("writer",), ("worker",)]
    assert mine.logs(component="worker", level="info").select("message").fetchall() == [("said 3",)]
    assert len(mine.logs("worker = 1", component=["worker", "run"])) == 1
    assert len(lake.logs()) == len(lake.logs(run=mine)) == 4
    found = lake.sql("select component, max(severity) from logs where run_id = ? group by 1 order by 1", [mine.run_id])
    assert found.fetchall() == [("run", 20), ("worker", 30), ("writer", 30)]
    assert mine.parts("logs")
    with pytest.raises(ConfigError, match=r"component: 'writers' is not in the catalogue; .* Did you mean writer\?"):
        mine.logs(component="writers")
    with pytest.raises(ConfigError, match="level: expected one of debug, info, warning, error, got 'fatal'"):
        mine.logs(level="fatal")


def test_a_run_without_logs(tmp_path: Path) -> None:
    new_run(tmp_path)
    lake = rolltape.open(tmp_path)
    assert len(lake.run().logs()) == 0
    assert LogTail(lake.run()).new() == []


def test_a_tail_gives_each_row_once(run: Logged) -> None:
    tail = LogTail(rolltape.open("lake").run(), "severity >= 30")
    assert [row["message"] for row in tail.new()] == ["said 2", "said 3"]
    assert tail.new() == []
    run.say(log_codes.WRITER_FAILED, log_codes.RUN_ENDED, message="then")
    assert [row["message"] for row in tail.new()] == ["then 0"]
    assert tail.new() == []


@pytest.fixture
def logs(run: Logged, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: str) -> tuple[int, list[str], str]:
        code = exit_code("logs", *arguments)
        shown = capsys.readouterr()
        return code, shown.out.splitlines(), shown.err

    return call


def test_text_and_json(logs) -> None:
    code, out, err = logs()
    assert (code, err, len(out)) == (0, "", 4)
    assert out[3][12:] == " warning worker said 3 (worker 3.0) LOG2002"
    assert logs("--data")[1][0].endswith('run said 0 LOG1001 {"a": 1}')
    rows = [json.loads(line) for line in logs("--format", "json", "--limit", "2")[1]]
    assert [row["code"] for row in rows] == ["LOG3002", "LOG2002"]
    assert rows[0]["data"] == {"a": 1}
    assert logs("--limit", "1")[2] == "3 earlier ones; --limit 0 shows all\n"
    assert len(logs("--where", "worker > 1")[1]) == 2


def test_the_last_choice_is_remembered(logs) -> None:
    assert len(logs("--component", "worker", "--level", "info")[1]) == 1
    code, out, err = logs()
    assert (code, len(out)) == (0, 1)
    assert err == "as last time: --component worker --level info (--all shows everything)\n"
    assert len(logs("--level", "warning")[1]) == 2
    assert logs()[2].startswith("as last time: --level warning (")
    assert len(logs("--all")[1]) == 4
    assert logs()[2] == ""


def test_a_choice_that_cannot_be_read_or_kept(logs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    choices_file().parent.mkdir(parents=True)
    for content in ("{", "[]", '{"logs": 3}', '{"logs": {"component": ["gone"], "level": "loud"}}'):
        choices_file().write_text(content)
        assert logs()[2] == ""
    (tmp_path / "file").touch()
    monkeypatch.setattr("rolltape.scripts.cli.choices.choices_file", lambda: tmp_path / "file" / "choices.json")
    assert len(logs("--level", "error")[1]) == 0


def test_what_is_not_in_the_catalogue(logs) -> None:
    code, out, err = logs("--component", "wrter")
    assert (code, out) == (1, [])
    assert err.startswith("rolltape: component: 'wrter' is not in the catalogue; there are ")
    assert "Did you mean writer?" in err
    assert not choices_file().exists()
    assert logs("--level", "loud")[0] == 2
    assert logs("--where", "nonsense = 1")[0] == 1


def test_following_until_the_run_ends(run: Logged, logs, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            run.say(log_codes.WRITER_FAILED, message="while it goes on")
        else:
            run.say(log_codes.RUN_FAILED, message="at last")
            write_end_info(run.folder, {"status": "failed"})

    monkeypatch.setattr(command.time, "sleep", pause)
    monkeypatch.setattr("rolltape.storage.summaries.is_alive", lambda *_: True)
    code, out, _ = logs("--follow", "--level", "error")
    assert code == 0
    assert [line.split(maxsplit=3)[3] for line in out] == ["while it goes on 0 LOG3004", "at last 0 LOG1004"]
