"""`rolltape record`."""

from __future__ import annotations

import contextlib
import json as json_format
import os
import signal
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from rolltape.schema.config import FramePolicy, RecordConfig
from rolltape.schema.config_sources import RUN_VARIABLE
from rolltape.schema.errors import RolltapeError
from rolltape.schema.log_policy import configure_logging

from .options import ConfigFile, SetKeys
from .output import facts
from .settled import say_all_right, settled

if TYPE_CHECKING:
    from rolltape.actors.fleet import Fleet

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit codes after Ctrl-C and SIGTERM, as shells know them."""


class Autoreset(StrEnum):
    """What happens after an episode's end."""

    next_step = "next_step"
    same_step = "same_step"
    disabled = "disabled"


class Vectorization(StrEnum):
    """How the sub-environments of a worker are stepped."""

    auto = "auto"
    sync = "sync"
    native = "native"


class Validation(StrEnum):
    """What is done with values outside their spaces."""

    off = "off"
    warn = "warn"
    enforce = "enforce"


class Durability(StrEnum):
    """What a commit survives."""

    machine = "machine"
    process = "process"


def frames_of(text: str) -> dict[str, Any]:
    """The frames policy that `--frames` names: `render:4` is every fourth step. Raises typer.BadParameter."""
    policy, colon, every = text.partition(":")
    policies = get_args(FramePolicy)
    if policy not in policies:
        raise typer.BadParameter(f"expected {', '.join(policies)} or render:K, got {text!r}")
    if not colon:
        return {"policy": policy}
    if policy != "render" or not every.isdecimal() or int(every) < 1:
        raise typer.BadParameter(f"render:K keeps every K-th step's picture, K is 1 or more; got {text!r}")
    return {"policy": policy, "every": int(every)}


def arguments_of(given: list[str] | None) -> dict[str, Any]:
    """What `--env-kwargs` gives: `name=value` with JSON values, plain text where it is none, or a JSON object.

    Raises typer.BadParameter.
    """
    found: dict[str, Any] = {}
    for text in given or []:
        if text.startswith("{"):
            try:
                found.update(json_format.loads(text))
            except ValueError as error:
                raise typer.BadParameter(f"{text!r} is no JSON object: {error}") from None
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise typer.BadParameter(f"expected name=value or a JSON object, got {text!r}")
        try:
            found[name] = json_format.loads(value)
        except ValueError:
            found[name] = value
    return found


DEFAULTS = RecordConfig()
RUNS = "How it runs"
KEPT = "How it is kept"


def record(
    env: Annotated[
        str | None,
        typer.Argument(
            metavar="[ENV]",
            help="A registered id (module:Id-v0 imports the module first), or module:callable. Not needed to go on "
            "with a run.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with this run after a stop, a crash or a full disk: an id, its beginning, or latest. It keeps "
            "its environment, workers and seed.",
            show_default=False,
        ),
    ] = None,
    envs: Annotated[
        int | None,
        typer.Option("--envs", "-n", min=1, metavar="N", help="Sub-environments in all.", show_default="1"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="S", help="Record so many steps.", show_default=False)
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="E", help="Record so many episodes; with --steps, what comes first.", show_default=False
        ),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY",
            help="Pictures to keep: none; observation, where that is one; render; render:K, every K-th step. "
            "replay: none, drawn again when asked for. auto is observation where it can be, otherwise none.",
            show_default="auto",
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="M:CALLABLE",
            help="Chooses actions: a function of batched observations, or random.",
            show_default="random",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Seeds every episode and the random policy.", show_default="0"),
    ] = None,
    env_kwargs: Annotated[
        list[str] | None,
        typer.Option(
            "--env-kwargs", "-k", metavar="NAME=VALUE", help="An argument of the environment; may be repeated."
        ),
    ] = None,
    lake: Annotated[Path | None, typer.Option(help="Folder that recordings are in.", show_default="lake")] = None,
    config: ConfigFile = None,
    set_keys: SetKeys = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check options, settings and the policy; start nothing.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no summary; print the run id alone.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Processes that share the sub-environments.",
            show_default="CPUs - 1",
            rich_help_panel=RUNS,
        ),
    ] = None,
    cpus_per_worker: Annotated[
        float | None,
        typer.Option(min=0, metavar="CPUS", help="What a worker asks Ray for.", show_default="1", rich_help_panel=RUNS),
    ] = None,
    vectorization: Annotated[
        Vectorization | None,
        typer.Option(
            help="A native vector environment: where it is equal, never, always.",
            show_default="auto",
            rich_help_panel=RUNS,
        ),
    ] = None,
    autoreset: Annotated[
        Autoreset | None,
        typer.Option(help="When an ended episode is reset.", show_default="next_step", rich_help_panel=RUNS),
    ] = None,
    steps_per_s: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Step no faster than this, in steps a second of all together.",
            show_default="no limit",
            rich_help_panel=RUNS,
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="Record every K-th step of an episode; the others are counted.",
            show_default="1, all",
            rich_help_panel=KEPT,
        ),
    ] = None,
    keep_last: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Record the last N steps of each episode; the others are counted.",
            show_default="0, all",
            rich_help_panel=KEPT,
        ),
    ] = None,
    validation: Annotated[
        Validation | None,
        typer.Option(
            help="Values outside their spaces and rewards that are not finite: warn counts them, enforce refuses them.",
            show_default="off",
            rich_help_panel=KEPT,
        ),
    ] = None,
    durability: Annotated[
        Durability | None,
        typer.Option(
            help="What recorded steps survive: a power cut, or kills only.",
            show_default="machine",
            rich_help_panel=KEPT,
        ),
    ] = None,
    fragment_age_s: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Workers send what is this old, in seconds.",
            show_default=f"{DEFAULTS.fragment.max_age_s:g}",
            rich_help_panel=KEPT,
        ),
    ] = None,
    commit_age_s: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="The writer commits what is this old, in seconds; this and the commit is what a crash may cost.",
            show_default=f"{DEFAULTS.commit.max_age_s:g}",
            rich_help_panel=KEPT,
        ),
    ] = None,
    dashboard: Annotated[
        bool | None,
        typer.Option(
            "--dashboard/--no-dashboard",
            help="Serve the page, on this machine alone, while it records (live.enabled).",
            show_default="--dashboard",
            rich_help_panel=RUNS,
        ),
    ] = None,
    give_up_s: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Fail when nothing could be written for so many seconds.",
            show_default=f"{DEFAULTS.budget.give_up_s:g}",
            rich_help_panel=KEPT,
        ),
    ] = None,
) -> Any:
    """Step environments on Ray and record them.

    The summary goes to stdout; progress, and whatever environments print, to
    stderr. Ctrl-C ends the run in an orderly way. With RAY_ADDRESS set the
    workers run on that cluster, otherwise on this machine.

    Examples:

    rolltape record CartPole-v1 --envs 64 --steps 200000

    rolltape record ALE/Breakout-v5 -n 8 --steps 20000 -k frameskip=4

    rolltape record CarRacing-v3 -n 4 --episodes 8 --frames render:2

    rolltape record my.envs:make --episodes 10 --policy my.agents:act

    rolltape record --resume latest --steps 100000
    """
    if steps is None and episodes is None:
        raise typer.BadParameter("give --steps, --episodes, or both", param_hint="--steps")
    if env is None and resume is None:
        raise typer.BadParameter("name an environment, or a run to go on with (--resume)", param_hint="ENV")
    began: dict[str, tuple[str, Any]] = {}
    retried = False
    if resume is None and RUN_VARIABLE in os.environ:
        from rolltape.storage.wired_run import run_to_resume

        resume = run_to_resume(settled(None, config, set_keys, {"lake": ("--lake", lake)}).config.lake)
        retried = resume is not None
    if resume is not None:
        where = settled(None, config, set_keys, {"lake": ("--lake", lake)}).config.lake
        env, resume, began = _began(where, resume, env)
    picture = {} if frames is None else checked_option("--frames", frames_of, frames)
    options = {
        "lake": ("--lake", lake),
        "fleet.num_envs": ("--envs", envs),
        "fleet.num_workers": ("--workers", workers),
        "fleet.vectorization": ("--vectorization", vectorization),
        "fleet.autoreset": ("--autoreset", autoreset),
        "fleet.policy": ("--policy", policy),
        "resources.cpus_per_worker": ("--cpus-per-worker", cpus_per_worker),
        "durable.frames.policy": ("--frames", picture.get("policy")),
        "durable.frames.every": ("--frames", picture.get("every")),
        "durable.seed": ("--seed", seed),
        "durable.throttle.steps_per_s": ("--steps-per-s", steps_per_s),
        "durable.throttle.sample": ("--sample", sample),
        "durable.keep_last": ("--keep-last", keep_last),
        "durable.validation": ("--validation", validation),
        "durable.fragment.max_age_s": ("--fragment-age-s", fragment_age_s),
        "durable.commit.max_age_s": ("--commit-age-s", commit_age_s),
        "durable.commit.durability": ("--durability", durability),
        "durable.budget.give_up_s": ("--give-up-s", give_up_s),
        "live.enabled": ("--dashboard" if dashboard else "--no-dashboard", dashboard),
    }
    settings = settled(env, config, set_keys, began | {k: v for k, v in options.items() if v[1] is not None})
    tree = settings.config
    if tree.fleet.num_workers > tree.fleet.num_envs:
        found = settings.origin("fleet.num_workers").said
        raise typer.BadParameter(
            f"at most one for each of --envs {tree.fleet.num_envs}, got {tree.fleet.num_workers} (from {found})",
            param_hint="--workers",
        )
    kwargs = checked_option("--env-kwargs", arguments_of, env_kwargs)
    if check:
        _check_policy(tree.fleet.policy)
        say_all_right()
        return settings

    def make() -> Fleet:
        from rolltape.actors.fleet import Fleet

        _check_policy(tree.fleet.policy)  # before Ray starts, which takes seconds
        given = kwargs if kwargs or resume is None else None
        return Fleet(env, env_kwargs=given, resume=resume, settings=settings, announce=False)

    logs = tree.logging.model_copy(update={"level": "warning"}) if quiet or json else tree.logging
    configure_logging(logs, "program")
    fleet: Fleet | None = None
    failed: BaseException | None = None
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the summary, whatever workers and libraries print
        try:
            with _sigterm_exits():
                with _starting(str(env), quiet):
                    fleet = make()
                with fleet:
                    if fleet.resumed is not None and not quiet:
                        facts(fleet.resumed.lines())
                    if not quiet and (told := fleet.page or fleet.page_problem):
                        print(f"Watch it live: {told}" if fleet.page else told, file=sys.stderr)
                    if retried:
                        steps, episodes = _missing(fleet, steps, episodes)
                    if steps != 0 and episodes != 0:
                        fleet.collect(steps=steps, episodes=episodes, policy=tree.fleet.policy, progress=not quiet)
        except (RolltapeError, KeyboardInterrupt, SystemExit) as error:
            failed = error
    _report(fleet, failed, tree.lake, quiet=quiet, json=json)


def _missing(fleet: Fleet, steps: int | None, episodes: int | None) -> tuple[int | None, int | None]:
    """What a retry still has to record, of what the first try was to; 0 where that is there."""
    if steps is not None:
        steps = max(0, steps - (fleet.resumed.steps if fleet.resumed is not None else 0))
    if episodes is not None:
        episodes = max(0, episodes - len(fleet.run.episodes("status = 'completed'")))
    return steps, episodes


def _check_policy(policy: str) -> None:
    from rolltape.actors.policies import find_callable

    if policy != "random":
        find_callable(policy)


def _began(lake: Path, run: str, env: str | None) -> tuple[str, str, dict[str, tuple[str, Any]]]:
    """Environment, run id and configuration of a run that is to go on, as if they were options."""
    from rolltape.actors.resuming import PastRun

    past = PastRun.find(lake, run)
    began = past.as_it_began()
    values = {f"fleet.{name}": began[name] for name in ("num_envs", "num_workers", "vectorization", "autoreset")}
    values |= {"durable.seed": began["seed"]}
    for section, inside in (past.config({}) | {"frames": began["frames"]}).items():
        items = inside.items() if isinstance(inside, dict) else [("", inside)]
        values |= {f"durable.{section}.{name}".rstrip("."): value for name, value in items}
    return past.env(env), past.folder.run_id, {key: ("--resume", value) for key, value in values.items()}


def _report(fleet: Fleet | None, failed: BaseException | None, lake: Path, *, quiet: bool, json: bool) -> None:
    """Print how it ended, and raise what it ended with."""
    from .summary import as_json, print_summary

    stopped = isinstance(failed, KeyboardInterrupt | SystemExit)
    summary = None if fleet is None else fleet.summary
    if json:
        error = None if failed is None else "interrupted" if stopped else str(failed)
        print(json_format.dumps(as_json(summary, run_id=fleet and fleet.run_id, error=error)))
    elif quiet:
        if fleet is not None:
            print(fleet.run_id)
    elif summary is not None:
        print_summary(summary, lake)
    elif fleet is not None:
        print(f"rolltape: {_left_behind(fleet, lake)}", file=sys.stderr)
    if not stopped:
        if failed is not None:
            raise failed
        return
    interrupted = isinstance(failed, KeyboardInterrupt)
    if fleet is None:
        how = "interrupted" if interrupted else "ended by SIGTERM"
        print(f"rolltape: {how} before anything was recorded", file=sys.stderr)
    raise SystemExit(INTERRUPTED if interrupted else TERMINATED)


def _left_behind(fleet: Fleet, lake: Path) -> str:
    """What is there of a run that could not be ended, a full disk for example."""
    from rolltape.storage.lake import open_lake

    try:
        with open_lake(lake) as opened:
            row = opened.runs(f"run_id = '{fleet.run_id}'").to_dicts()[0]
    except (RolltapeError, IndexError):
        return f"run {fleet.run_id} was given up"
    return (
        f"run {fleet.run_id} was given up; {row['steps']:,} steps of it are recorded and can be read. When its disk is "
        f"in order, `rolltape record --resume {fleet.run_id} --lake {lake} --steps …` goes on with it"
    )


@contextlib.contextmanager
def _sigterm_exits() -> Iterator[None]:
    """SIGTERM, by which schedulers end jobs, ends the run in an orderly way; Ray's own handler stops Ray first."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(TERMINATED)  # comes out of a waiting call of Ray with another code

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _starting(env: str, quiet: bool) -> Iterator[None]:
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    with console.status(f"starting Ray and {env} …"):
        yield


def checked_option(option: str, parse: Any, value: Any) -> Any:
    """What `parse` makes of an option's value; its refusal names the option. Raises typer.BadParameter."""
    try:
        return parse(value)
    except typer.BadParameter as error:
        raise typer.BadParameter(error.message, param_hint=option) from None
