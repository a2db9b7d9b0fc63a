"""The command line `rolltape`: one small file a command, each importing what it needs when it runs.

Only the command that was called is loaded: making the options of all of them took longer than refusing a wrong one.

Never here: logic that a library user would need as well.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import rolltape
from rolltape.schema.errors import RolltapeError

__all__ = ["app_of", "main"]

COMMANDS = (
    "record",
    "run",
    "runs",
    "episodes",
    "info",
    "sql",
    "logs",
    "watch",
    "dashboard",
    "replay",
    "stress",
    "video",
    "import-v0",
    "verify",
    "repair",
    "migrate",
    "compact",
    "retain",
    "vacuum",
    "submit",
    "tune",
)
"""In the order of `--help`. Each is a module here with a function of its own name, whose docstring is its help."""

CARRIERS = frozenset({"submit"})
"""Commands that carry another one: options after its first word are that one's."""

GROUPS = ("schema", "config")
"""Commands with commands of their own. Each is a module here with a `typer.Typer` of its own name."""

DEBUG = "--debug"

OUR_WORDS = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}
"""Of a refused option, what Pydantic says and what we say."""


class Commands(TyperGroup):
    """Commands whose refusals name the value that was refused."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as refusal:
            problems = getattr(refusal.__cause__, "errors", None)
            if problems is not None:  # Typer takes Pydantic's words, which leave the value out
                refusal.message = _refused(problems()[0])
            raise


def _refused(problem: dict[str, Any]) -> str:
    words = str(problem["msg"]).removeprefix("Value error, ")
    value = repr(problem["input"])
    if value in words:
        return words
    words = re.sub("^Input should be ", "expected ", words.partition(", unable to parse")[0]).removesuffix(".")
    for pydantic, ours in OUR_WORDS.items():
        words = words.replace(pydantic, ours)
    return f"{words}, got {value}"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rolltape {rolltape.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show where an error came from. Allowed anywhere.")] = False,
) -> None:
    pass


def app_of(names: Sequence[str] = (*COMMANDS, *GROUPS)) -> typer.Typer:
    """The command line with the commands of these names, which are loaded."""
    app = typer.Typer(
        name="rolltape",
        cls=Commands,
        help="The flight recorder for reinforcement-learning environments.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name in names:
        module = name.replace("-", "_")
        found = getattr(importlib.import_module(f"{__name__}.{module}"), module)
        if name in GROUPS:
            app.add_typer(found, name=name)
        else:
            app.command(name, context_settings={"allow_interspersed_args": name not in CARRIERS})(found)
    return app


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """With the command that is called alone, with all where help is asked for or a word is none of them."""
    word = _word_of(arguments)
    if word is None and "--version" in arguments:
        return app_of([])
    return app_of([word]) if word in (*COMMANDS, *GROUPS) else app_of()


def _word_of(arguments: Sequence[str]) -> str | None:
    return next((argument for argument in arguments if not argument.startswith("-")), None)


def run_command(arguments: Sequence[str]) -> Any:
    """Run a command in this process; what its function returns. Raises SystemExit for wrong usage, RolltapeError."""
    given = list(arguments)
    command = typer.main.get_command(app_for(given))
    try:
        return command.main(args=given, prog_name="rolltape", standalone_mode=False)
    except Exception as error:
        if (shown := getattr(error, "show", None)) is None:  # what Click raises for wrong usage can show itself
            raise
        shown()
        raise SystemExit(getattr(error, "exit_code", 2)) from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 when done, 1 with one message for what went wrong, 2 for wrong usage.

    Args:
        arguments: those after the program's name; None for the process's own.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in given
    given = [argument for argument in given if argument != DEBUG]
    try:
        command = typer.main.get_command(app_for(given))
        if _word_of(given) is not None and isinstance(command, TyperGroup):
            command.rich_markup_mode = None  # a refusal in plain text: loading what draws a frame takes longer
        command(args=given, prog_name="rolltape")
    except RolltapeError as error:
        if debug:
            raise
        print(f"rolltape: {error}", file=sys.stderr)
        raise SystemExit(1) from None
