"""Writes docs/reference.md from the docstrings of the public names, the tables of docs/schema.md and
docs/configuration.md from the declarations, and says when a page is stale.

`python -m rolltape.scripts.reference` writes the page; with `--check` it compares, and exits with 1 when
they differ. Signatures come from the source and not from the running objects, so that the page is the
same on every Python.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pydantic

import rolltape
from rolltape.schema.config_docstrings import docstrings_of

from .log_codes_page import log_codes_page
from .schema_page import filled
from .settings_page import with_settings

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference.md"
CODES_PAGE = ROOT / "docs" / "log-codes.md"
SCHEMA_PAGE = ROOT / "docs" / "schema.md"
SETTINGS_PAGE = ROOT / "docs" / "configuration.md"
HEAD = """# Reference

Written from the docstrings by `make docs`; edit those. Everything here is reached by `import rolltape as rt`;
whatever has no entry is no promise. What lies on disk is in [format.md](format.md).
"""
LINE = 100


def main(arguments: list[str] | None = None) -> int:
    """Write or check the generated pages; the exit code is 1 when a check finds one stale."""
    check = "--check" in (sys.argv[1:] if arguments is None else arguments)
    pages = {PAGE: reference(), CODES_PAGE: log_codes_page()}
    if SCHEMA_PAGE.exists():
        pages[SCHEMA_PAGE] = filled(SCHEMA_PAGE.read_text(encoding="utf-8"))
    if SETTINGS_PAGE.exists():
        pages[SETTINGS_PAGE] = with_settings(SETTINGS_PAGE.read_text(encoding="utf-8"))
    return max(_keep(path, page, check=check) for path, page in pages.items())


def _keep(path: Path, page: str, *, check: bool) -> int:
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    if kept == page:
        return 0
    if not check:
        path.write_text(page, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
        return 0
    before, after = kept.splitlines(), page.splitlines()
    print(*difflib.unified_diff(before, after, "as it is", "as it should be", n=1, lineterm=""), sep="\n")
    print(f"{path.relative_to(ROOT)} is stale; `make docs` writes it anew")
    return 1


def reference() -> str:
    """The whole page as Markdown."""
    names = [name for name in rolltape.__all__ if not name.startswith("__")]
    sections = [HEAD, *(_entry(name, getattr(rolltape, name)) for name in names), *_command_line()]
    return "\n".join(section.rstrip("\n") + "\n" for section in sections)


def _entry(name: str, thing: Any) -> str:
    lines = [f"## rolltape.{name}", "", *_described(name, thing)]
    if inspect.isclass(thing):
        if issubclass(thing, pydantic.BaseModel):
            lines += ["", "| key | type | default | meaning |", "|---|---|---|---|", *_settings(thing)]
        if issubclass(thing, Exception):
            lines += ["", *_kinds(thing)]
        else:
            lines += _members(name, thing)
    return "\n".join(lines)


def _described(name: str, thing: Any) -> list[str]:
    text = inspect.cleandoc(thing.__doc__ or "").splitlines()
    if not text:
        raise SystemExit(f"rolltape.{name} has no docstring")
    signature = _signature(name, thing)
    return ["```python", *signature, "```", "", *text] if signature else text


# ---- signatures, as they stand in the source ---------------------------------------------------------------


def _signature(name: str, thing: Any) -> list[str]:
    node = _definition(thing)
    if isinstance(node, ast.ClassDef):
        methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
        if "__init__" not in methods:
            return []
        node = methods["__init__"]
        node.returns = None
    if node is None:
        return []
    given = node.args
    first = given.posonlyargs or given.args
    if first and first[0].arg in ("self", "cls"):
        del first[0]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    arguments = list(_arguments(given))
    flat = f"{name}({', '.join(arguments)}){returns}"
    if len(flat) <= LINE:
        return [flat]
    return [f"{name}(", *(f"    {argument}," for argument in arguments), f"){returns}"]


def _arguments(given: ast.arguments) -> Iterator[str]:
    """Each argument as one would write it on a line of its own, `/` and `*` among them."""
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    for number, (argument, default) in enumerate(zip(plain, defaults, strict=True), start=1):
        yield _argument(argument, default)
        if number == len(given.posonlyargs):
            yield "/"
    if given.vararg:
        yield f"*{ast.unparse(given.vararg)}"
    elif given.kwonlyargs:
        yield "*"
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _argument(argument, default)
    if given.kwarg:
        yield f"**{ast.unparse(given.kwarg)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    text = ast.unparse(argument)
    if default is None:
        return text
    return f"{text} = {ast.unparse(default)}" if argument.annotation else f"{text}={ast.unparse(default)}"


def _definition(thing: Any) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | None:
    found: Any = ast.parse(Path(inspect.getsourcefile(thing) or "").read_text(encoding="utf-8"))
    for part in thing.__qualname__.split("."):
        body = (node for node in found.body if getattr(node, "name", None) == part)
        found = next(body, None)
        if found is None:
            return None
    return found


# ---- what a class holds ------------------------------------------------------------------------------------


def _members(owner: str, thing: type) -> list[str]:
    """Public methods and properties with a docstring, in the order in which the source has them."""
    lines: list[str] = []
    for name, member in vars(thing).items():
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if name.startswith("_") or not function.__doc__:
            continue
        if inspect.isfunction(function):
            lines += ["", f"### {owner}.{name}", "", *_described(name, function)]
        elif isinstance(function, property):
            lines += ["", f"### {owner}.{name}", "", *inspect.cleandoc(function.__doc__).splitlines()]
    return lines


def _settings(model: type[pydantic.BaseModel], path: str = "") -> Iterator[str]:
    """One row a setting, nested models by their path: `commit.max_bytes`."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if inspect.isclass(inner) and issubclass(inner, pydantic.BaseModel):
            yield from _settings(inner, f"{path}{name}.")
            continue
        limits = [f"{sign} {bound}" for mark in field.metadata for sign, bound in _bounds(mark)]
        kind = ", ".join([_type(inner), *limits]).replace("|", "\\|")
        default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
        said = field.description or docstrings_of(model).get(name, "")
        meaning = " ".join(said.split()).replace("|", "\\|")
        yield f"| `{path}{name}` | {kind} | {default} | {meaning} |"


def _bounds(mark: object) -> Iterator[tuple[str, object]]:
    for attribute, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
        if hasattr(mark, attribute):
            yield sign, getattr(mark, attribute)


def _type(kind: Any) -> str:
    if "Literal" in str(kind):
        return " or ".join(f"`{value!r}`" for value in get_args(kind))
    return re.sub(r"\b[a-z_]+\.(?=\w)", "", kind.__name__ if inspect.isclass(kind) else str(kind))


def _kinds(error: type[Exception], depth: int = 0) -> Iterator[str]:
    """The exception tree as nested list items, with the first sentence of each."""
    for kind in error.__subclasses__():
        if kind.__module__.startswith("rolltape."):
            said = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")
            yield f"{'  ' * depth}- `{kind.__name__}`: {said}"
            yield from _kinds(kind, depth + 1)


# ---- the command line --------------------------------------------------------------------------------------


def _command_line() -> Iterator[str]:
    """Each command with its help and its options, as the program itself knows them."""

    import typer.main

    from .cli import app_of

    yield "# Command line\n"
    yield from _commands("rolltape", typer.main.get_command(app_of()))


def _commands(path: str, command: Any) -> Iterator[str]:
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _commands(f"{path} {name}", inner)
    if getattr(command, "commands", None):
        return
    given = [p for p in command.params if p.param_type_name == "argument"]
    usage = [path, *(p.name.upper() if p.required else f"[{p.name.upper()}]" for p in given)]
    lines = [f"## {' '.join(usage)}", "", *inspect.cleandoc(command.help or "").splitlines()]
    options = [p for p in command.params if p.param_type_name == "option" and not getattr(p, "hidden", False)]
    if options:
        lines += ["", "| option | default | meaning |", "|---|---|---|"]
    for option in options:
        default = "" if option.default in (None, False) else f"`{option.default}`"
        default = "required" if option.required else default
        meaning = " ".join((option.help or "").split()).replace("|", "\\|")
        lines.append(f"| `{', '.join([*option.opts, *option.secondary_opts])}` | {default} | {meaning} |")
    yield "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
