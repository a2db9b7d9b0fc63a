"""One policy: what is shown where, in which form, and that nothing lacks its context."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rolltape.schema import log_codes, log_policy
from rolltape.schema.config_logging import LoggingConfig
from rolltape.schema.errors import ConfigError
from rolltape.schema.log_forms import json_text
from rolltape.schema.log_policy import Role, Structured, attach, detach
from rolltape.schema.log_section import LogSections
from rolltape.schema.log_source import EVENT, LogEvent, LogSource

RUN = "01K00000000000000000000000"
SOURCE = LogSource(RUN, "CartPole-v1", 3, 1)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has configured nothing, and whose root logger has no handlers."""
    root, ours = logging.getLogger(), logging.getLogger("rolltape")
    before = root.handlers[:], root.level, ours.handlers[:], ours.level, ours.propagate
    root.handlers[:] = []
    monkeypatch.setattr(log_policy, "_current", None)
    monkeypatch.setattr(log_policy, "_sinks", {})
    yield
    for handler in (*root.handlers, *ours.handlers):
        if handler not in before[0] and handler not in before[2]:
            handler.close()
    root.handlers[:], root.level, ours.handlers[:], ours.level, ours.propagate = before
    logging.getLogger("x").manager._clear_cache()  # type: ignore[attr-defined]


def configure_logging(config: LoggingConfig | None = None, role: Role = "script") -> None:
    """As in a process in which pytest has not put its own handlers under the root logger."""
    root = logging.getLogger()
    root.handlers[:] = [h for h in root.handlers if not type(h).__module__.startswith("_pytest.")]
    log_policy.configure_logging(config, role)


def say(**details: object) -> None:
    SOURCE.emit(log_codes.WRITER_RETRIES, error="No room.", give_up_s=5.0, **details)


def test_a_record_without_context_cannot_be_made() -> None:
    for run_id, env_id in (("", "x"), ("x", "")):
        with pytest.raises(ConfigError, match="a record says which run and environment it is about"):
            LogSource(run_id, env_id)


def test_a_record_without_a_code_fails_in_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Structured, "strict", True)
    configure_logging()
    with pytest.raises(ConfigError, match=r"A record of rolltape.thing names no code .*: 'odd 7'"):
        logging.getLogger("rolltape.thing").warning("odd %d", 7)
    say()


def test_a_record_without_a_code_is_shown_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Structured, "strict", False)
    configure_logging()
    logging.getLogger("rolltape.thing").warning("odd %d", 7)
    assert capsys.readouterr().err.endswith(" WARNING rolltape.thing odd 7\n")


def test_plain(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LoggingConfig(output="plain"))
    say(section="disk\n  free  0")
    shown = capsys.readouterr()
    assert shown.out == ""
    first, *rest = shown.err.splitlines()
    assert first[8:] == " WARNING writer LOG3002 No room. It is tried again for 5 s. (worker 3.1)"
    assert rest == ["disk", "  free  0"]


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(role="program")
    SOURCE.emit(log_codes.WORKER_STARTED, key="p0.0", num_envs=1, offset=0)
    logging.getLogger("other").info("not shown")
    assert capsys.readouterr().err == ""
    logging.getLogger("other").warning("shown")
    assert capsys.readouterr().err.endswith(" WARNING other shown\n")
    configure_logging(LoggingConfig(level="error"), role="program")
    say()
    assert capsys.readouterr().err == ""


def test_only_some_components(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LoggingConfig(components=("run",)))
    say()
    assert capsys.readouterr().err == ""
    SOURCE.emit(log_codes.RUN_FAILED, run=RUN, reason="x")
    assert "LOG1004" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"logging.components: 'writers' is none; there are backpressure, .*writer"):
        configure_logging(LoggingConfig(components=("writers",)))


def test_json_on_stderr_and_in_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    configure_logging(LoggingConfig(output="json", file=str(file)))
    say(path=Path("/x"), worst=math.inf)
    SOURCE.emit(log_codes.RUN_FAILED, run=RUN, reason="two\nlines", sub_env=4, episode=9)
    lines = capsys.readouterr().err.splitlines()
    assert file.read_text().splitlines() == lines
    one, two = map(json.loads, lines)
    assert one.pop("time") < two.pop("time")
    assert one.pop("pid") == two["pid"]
    assert one == {
        "level": "warning", "severity": 30, "code": "LOG3002", "component": "writer", "subcomponent": "storage",
        "message": "No room. It is tried again for 5 s.", "run_id": RUN, "env_id": "CartPole-v1", "worker": 3,
        "incarnation": 1, "sub_env": None, "episode": None,
        "data": {"error": "No room.", "give_up_s": 5.0, "path": "/x", "worst": "inf"},
    }  # fmt: skip
    assert (two["sub_env"], two["episode"], two["level"]) == (4, 9, "error")


def test_rich_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LoggingConfig(output="rich"))
    SOURCE.emit(log_codes.RUN_FAILED, run=RUN, reason="[bold]brackets[/bold]", section="table")
    shown = capsys.readouterr().err
    assert "[bold]brackets[/bold] (worker 3.1) LOG1004" in shown
    assert shown.endswith("table\n")


def test_a_script_with_handlers_of_its_own_keeps_them(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    class Mine(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    mine = Mine()
    logging.getLogger().addHandler(mine)
    configure_logging()
    say()
    assert seen == ["No room. It is tried again for 5 s."]
    assert capsys.readouterr().err == ""
    assert logging.getLogger().handlers == [mine]


def test_once_and_anew() -> None:
    configure_logging()
    handlers = logging.getLogger("rolltape").handlers[:]
    configure_logging(LoggingConfig())
    assert logging.getLogger("rolltape").handlers == handlers
    configure_logging(role="program")
    program = logging.getLogger("rolltape").handlers[:]
    assert program != handlers
    configure_logging(role="script")  # a Fleet within the command line
    assert logging.getLogger("rolltape").handlers == program


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"logging\.file: '.*/no/log' cannot be opened: .*No such file"):
        configure_logging(LoggingConfig(file=str(tmp_path / "no" / "log")))


def test_sinks_get_the_records_of_their_run(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LoggingConfig(level="error"))
    mine: list[str] = []
    everything: list[str] = []

    def sink(time_us: int, event: LogEvent, message: str | None) -> None:
        mine.append(event.code.level)

    def other(time_us: int, event: LogEvent, message: str | None) -> None:
        everything.append(str(event))

    say()
    attach(RUN, "warning", sink)
    attach("another", "debug", other)
    say()
    SOURCE.emit(log_codes.RUN_ENDED, run=RUN, status="completed", steps=1, episodes=1)
    detach(RUN, sink)
    say()
    assert (mine, everything) == (["warning"], [])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("where", ["rolltape", "rolltape.writer", "", "filter", "recording", "none"])
def test_everybody_gets_each_record_once(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also who comes later; a record is made only where somebody else than the recording listens."""
    configure_logging(LoggingConfig(level="error"))
    ours = logging.getLogger("rolltape")
    kept: list[str | None] = []
    heard: list[str] = []
    made: list[int] = []

    class Mine(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    class Look(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            heard.append(record.getMessage())
            return True

    def factory(*arguments: Any, **named: Any) -> logging.LogRecord:
        made.append(1)
        return logging.LogRecord(*arguments, **named)

    attach(RUN, "info", lambda time_us, event, message: kept.append(message or str(event)))
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(factory)
    mine, look = Mine(level=logging.WARNING), Look()
    filtered = logging.getLogger("rolltape.writer") if where == "filter" else ours.handlers[0]
    listening = logging.getLogger(where if where.startswith("rolltape") else None)
    try:
        say()
        assert (len(kept), made) == (1, [])
        if where in ("filter", "recording"):
            filtered.addFilter(look)
        elif where != "none":
            listening.addHandler(mine)
            monkeypatch.setattr(ours, "propagate", where == "")
        say()
        SOURCE.emit(log_codes.RUN_ENDED, run=RUN, status="completed", steps=1, episodes=1)
    finally:
        logging.setLogRecordFactory(before)
        filtered.removeFilter(look)
        listening.removeHandler(mine)
    said = "No room. It is tried again for 5 s."
    assert kept[:2] == [said, said]
    assert len(kept) == 3
    assert heard[:1] == ([] if where == "none" else [said])
    assert len(heard) == {"none": 0, "recording": 2}.get(where, 1)
    assert len(made) == len(heard)


def test_an_event_that_comes_through_plain_logging_is_kept() -> None:
    configure_logging(LoggingConfig(level="error"))
    kept: list[tuple[int, str | None]] = []
    attach(RUN, "info", lambda time_us, event, message: kept.append((time_us, message)))
    event = LogEvent(log_codes.WRITER_RETRIES, SOURCE, {"error": "x", "give_up_s": 1.0})
    logging.getLogger("rolltape.writer").warning("otherwise %d", 7, extra={EVENT: event})
    ((time_us, message),) = kept
    assert message == "otherwise 7"
    assert abs(time_us / 1e6 - time.time()) < 600


def test_a_message_that_cannot_be_formatted(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    SOURCE.emit(log_codes.WRITER_RETRIES, error="No room.", give_up_s="soon")
    assert "No room. It is tried again for soon s." in capsys.readouterr().err


def test_json_text_takes_anything() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    deep: object = 1
    for _ in range(2000):
        deep = [deep]
    for value in (object(), {1: 2}, {(1, 2): 3}, math.nan, [math.inf], b"\xff", cycle, deep, {"a": {1, 2}}):
        json.loads(json_text(value))
    assert json_text({"å": 1}) == '{"å": 1}'


class Sulky:
    """A value whose own code raises."""

    def __str__(self) -> str:
        raise OSError("The screen is gone.")

    def __hash__(self) -> int:
        return 1


def test_a_value_whose_own_code_raises(capsys: pytest.CaptureFixture[str]) -> None:
    text = "<Sulky: str() raised OSError>"
    assert json.loads(json_text({"a": Sulky(), "b": [math.nan, Sulky()]})) == {"a": text, "b": ["nan", text]}
    assert json.loads(json_text({Sulky(): math.inf})) == {text: "inf"}
    configure_logging()
    SOURCE.emit(log_codes.WRITER_RETRIES, error=Sulky(), give_up_s=3.0)
    assert f"{text} It is tried again for 3" in capsys.readouterr().err


# ---- sections ----


def test_a_section_shows_what_differs_from_the_defaults() -> None:
    values = {"env": "CartPole-v1", "commit": {"max_age_s": 0.1, "durability": "machine"}, "seed": 0}
    defaults = {"commit": {"max_age_s": 0.8, "durability": "machine"}, "seed": 0}
    shown = LogSections().section("run", values, defaults=defaults, notes={"commit.max_age_s": "cli"})
    assert shown.splitlines() == ["run", "  env               CartPole-v1", "  commit.max_age_s  0.1  [cli]"]
    assert len(LogSections(everything=True).section("run", values, defaults=defaults).splitlines()) == 5


def test_a_section_that_comes_again_shows_what_changed() -> None:
    sections = LogSections()
    first = sections.section("memory", {"rss": 1_000_000, "queue": 3, "gone": True})
    assert first.splitlines()[1] == "  rss    1,000,000"
    assert sections.section("memory", {"rss": 2_000_000, "queue": 3, "new": None}).splitlines() == [
        "memory",
        "  rss   1,000,000 → 2,000,000",
        "  new   –",
        "  gone  yes → gone",
    ]
    assert sections.section("memory", {"rss": 2_000_000, "queue": 3, "new": None}) == ""
    assert sections.section("other", {}) == ""
