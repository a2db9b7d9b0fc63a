"""`rolltape schema dump`."""

from __future__ import annotations

import json as json_format
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .record import arguments_of

if TYPE_CHECKING:
    from rolltape.schema.space_codec import SpaceCodec


def dump(
    env: Annotated[
        str,
        typer.Argument(
            metavar="ENV",
            help="A registered id (module:Id-v0 imports the module first), or module:callable.",
            show_default=False,
        ),
    ],
    env_kwargs: Annotated[
        list[str] | None,
        typer.Option(
            "--env-kwargs", "-k", metavar="NAME=VALUE", help="An argument of the environment; may be repeated."
        ),
    ] = None,
    adapter: Annotated[
        str, typer.Option(metavar="NAME", help="Another adapter than the one that fits: a name or module:Class.")
    ] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a recording of an environment holds: spaces, signatures, columns, adapter, state and render payloads.

    The environment is made and closed; it is not stepped, and nothing is recorded.
    """
    found = schema_of(env, arguments_of(env_kwargs), adapter)
    if json:
        json_format.dump(found, sys.stdout, indent=2)
        print()
        return
    _print(found)


def schema_of(env_id: str, kwargs: dict[str, Any], adapter: str = "auto") -> dict[str, Any]:
    """What `rolltape schema dump --json` prints. Raises EnvError, AdapterError or UnsupportedSpace."""
    from rolltape.actors.stepping import EnvRecipe, spaces_of
    from rolltape.schema.adapters.adapter import wrappers_of
    from rolltape.schema.adapters.registry import adapter_of
    from rolltape.schema.config import FramesConfig
    from rolltape.schema.run_schema import RunSchema

    observation, action, env = spaces_of(EnvRecipe(env_id, kwargs))
    try:
        schema = RunSchema("", env_id, observation, action, FramesConfig())
        layout = None if schema.layout is None else schema.layout.describe()
        return {
            "env_id": env_id,
            "class": f"{type(env.unwrapped).__module__}:{type(env.unwrapped).__qualname__}",
            "wrappers": wrappers_of(env),
            "spaces": {"observation": _space(schema.observation), "action": _space(schema.action)},
            "observation_frames": layout,
            "tables": {
                table: {field.name: str(field.type) for field in schema.arrow(table)}
                for table in ("steps", "frames", "episodes")
            },
            "adapter": adapter_of(env, adapter).describe(),
        }
    finally:
        env.close()


def _space(codec: SpaceCodec) -> dict[str, Any]:
    return {
        "descriptor": codec.descriptor,
        "signature": codec.signature,
        "arrow_type": str(codec.arrow_type),
        "fixed": codec.is_fixed,
    }


def _print(found: dict[str, Any]) -> None:
    from rolltape.schema.spaces import space_from_descriptor

    from .output import facts

    adapter = found["adapter"]
    space, render = adapter["space"], adapter["render"]
    shown: dict[str, Any] = {"environment": found["env_id"], "class": found["class"]}
    shown["wrappers"] = ", ".join(found["wrappers"]) or None
    for name, described in found["spaces"].items():
        shown[f"{name} space"] = " ".join(str(space_from_descriptor(described["descriptor"])).split())
        shown[f"{name} signature"] = described["signature"]
        shown[f"{name} Arrow type"] = described["arrow_type"]
        shown[f"{name} names"] = ", ".join(space[f"{name}_names"]) or None
    frames = found["observation_frames"]
    shown["observations kept as"] = "a column of steps" if frames is None else f"frames, {json_format.dumps(frames)}"
    shown["adapter"] = f"{adapter['name']}, version {adapter['version']}, capability {adapter['capability']}"
    payloads = ", ".join(f"{kind} (version {version})" for kind, version in render["kinds"].items())
    shown["render payloads"] = payloads or None
    for word, meaning in render["legend"].items():
        shown[f"  {word}"] = meaning
    for key, field in space["state"].items():
        kind = f"{field['dtype']}{field['shape'] or ''}"
        shown[f"state.{key}"] = f"{kind}{', ' + field['unit'] if field['unit'] else ''}: {field['meaning']}"
    for table, columns in found["tables"].items():
        shown[f"columns of {table}"] = ", ".join(columns)
    facts(shown)
