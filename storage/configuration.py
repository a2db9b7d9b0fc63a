"""The configuration of something that starts in this process: every source read once, in the order of precedence.

Class default < profile < preset < pyproject.toml < rolltape.toml < --config < .env < environment < command line <
Python.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rolltape.schema.config import RecordConfig
from rolltape.schema.config_presets import (
    FAMILIES,
    PROFILES,
    Preset,
    Profile,
    choose_preset,
    profile_of,
    user_presets,
)
from rolltape.schema.config_provenance import Given, Layer, Origin, Resolved, plain
from rolltape.schema.config_resolve import resolve
from rolltape.schema.config_sources import (
    CONFIG_VARIABLE,
    WIRING,
    dotenv_layer,
    environment_layer,
    file_layer,
    options_layer,
    project_files,
    python_layer,
)
from rolltape.schema.config_tree import Config
from rolltape.schema.errors import ConfigError, ConfigWarning

from .host import host_name, host_of, user_folder

SETTINGS_VARIABLE: Final = f"{WIRING}SETTINGS"
"""What `rolltape submit` settled, as JSON; files, `.env` and other variables are not read then."""


def configured(
    *,
    env_id: str | None = None,
    options: Mapping[str, Given] | None = None,
    override: Mapping[str, Any] | None = None,
    place: str = "Python",
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Resolved:
    """Read every source and check the result.

    Args:
        env_id: what is to be recorded; chooses a preset.
        options: of a command line, by the paths of their keys.
        override: from Python, nested as the tree is; None is left out.
        place: what Python call that was, for messages.
        config_file: of `--config`; None: what ROLLTAPE_CONFIG names, if anything.
        environ: None for that of the process.
        folder: where files are looked for; None for the working directory.

    Raises:
        ConfigError: all that is wrong, each with its key, value, what is allowed and where it came from.
    """
    layers = said(options, override, place, config_file, environ, folder)
    asked = _last(layers, "preset"), _last(layers, "profile"), _last(layers, "lake")
    name, where = _text(asked[0], "auto")
    if name != "auto" and SETTINGS_VARIABLE in (os.environ if environ is None else environ):
        name = "none"  # its values came along, and the file of the preset may not be here
    preset = choose_preset(name, env_id, presets(), host_name(), where)
    chosen, evidence = _profile(asked[1], Path(str(asked[2].value)) if asked[2] else Config().lake)
    below = [*([chosen.layer()] if chosen else []), *([preset.layer()] if preset else [])]
    if preset is not None:
        evidence["preset"] = {"name": preset.name, "env": env_id, "place": preset.place, **preset.evidence}
    return resolve([*below, *layers], evidence)


def configured_lake() -> Path:
    """The lake that files and the environment name; no other setting is looked at. Raises ConfigError."""
    found = _last(said(None, None, "", None, None, None), "lake")
    return Config().lake if found is None else Path(str(found.value))


def said(
    options: Mapping[str, Given] | None,
    override: Mapping[str, Any] | None,
    place: str,
    config_file: Path | None,
    environ: Mapping[str, str] | None,
    folder: Path | None,
) -> list[Layer]:
    """What files, environment, command line and Python say, the weakest first. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    folder = Path.cwd() if folder is None else folder
    given = [options_layer(options or {}), python_layer(override or {}, place)]
    if SETTINGS_VARIABLE in environ:  # of a job: what was settled where it was submitted, and nothing else
        return [layer for layer in (travelled(environ[SETTINGS_VARIABLE]), *given) if layer]
    layers = [file_layer(path, shown=_shown(path, folder)) for path in project_files(folder)]
    named = config_file or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    if named is not None:
        layers.append(file_layer(folder / named.expanduser(), shown=str(named)))
    layers += [dotenv_layer(folder / ".env"), environment_layer(environ), *given]
    return [layer for layer in layers if layer]


def travelling(settings: Resolved) -> list[dict[str, Any]]:
    """What a job brings along: all that was said here but for the profile, each value with its source."""
    found: dict[str, Given] = {}
    for layer in settings.layers:
        if not layer.name.startswith("profile:"):
            found |= layer.values
    return [
        {"key": path, "value": plain(given.value), "source": given.origin.source, "place": given.origin.place}
        for path, given in found.items()
    ]


def travelled(text: str) -> Layer:
    """What a job brought along. Raises ConfigError for what is not that."""
    try:
        rows = json.loads(text)
        values = {row["key"]: Given(row["value"], Origin(row["source"], row["place"])) for row in rows}
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{SETTINGS_VARIABLE} is not what `rolltape submit` writes: {error!r}.") from None
    return Layer("submitted", values)


def presets() -> list[Preset]:
    """All presets, the user's first. Raises ConfigError for a file that is none."""
    return [*user_presets(user_folder() / "presets"), *FAMILIES]


def configured_by(
    place: str,
    env_id: str | None,
    settings: Resolved | None = None,
    *,
    keys: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Resolved:
    """The configuration of a Python call, whose arguments beat every other source; warns of risky values.

    Args:
        place: the call, for messages.
        env_id: what is to be recorded.
        settings: what was resolved already. Arguments are refused then, because they would be a second source.
        keys: arguments that stand for other keys of the tree, by their paths; None: not given.
        **keywords: further arguments: fields of `RecordConfig`, or sections.

    Raises:
        ConfigError: all that is wrong.
    """
    given = _keywords(keys or {}, keywords)
    if settings is None:
        settings = configured(env_id=env_id, override=given, place=place)
        for risk in settings.risks:
            warnings.warn(str(risk), ConfigWarning, stacklevel=3)
    elif layer := python_layer(given, place):
        raise ConfigError(f"settings: give either settings or {', '.join(sorted(layer.values))}; both say what holds.")
    return settings


def _keywords(keys: Mapping[str, Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of `Fleet` and `record` as the tree has them: `commit=…` is `durable.commit`, `logging=…` a section."""
    tree: dict[str, Any] = {"durable": {}}
    for name, value in keywords.items():
        if name in RecordConfig.model_fields:
            tree["durable"][name] = value
        elif name == "durable" and isinstance(value, Mapping):
            tree["durable"] |= value
        else:
            tree[name] = value
    for path, value in keys.items():
        section, _, name = path.rpartition(".")
        inside = tree.setdefault(section, {})
        if value is not None and isinstance(inside, Mapping):  # what is no section is refused as it is
            tree[section] = {**inside, name: value}
    return tree


def _profile(asked: Given | None, lake: Path) -> tuple[Profile | None, dict[str, Any]]:
    name = "auto" if asked is None else asked.value
    if name == "auto":
        host = host_of(lake)
        facts = {"cores": host.cores, "memory_bytes": host.memory_bytes, "disk_bytes_s": host.disk_bytes_s}
        chosen = profile_of(host)
        return chosen, {"profile": {"name": chosen.name, **facts}}
    chosen = PROFILES.get(name) if isinstance(name, str) else None
    return chosen, {
        "profile": {"name": chosen.name, "asked": True}
    } if chosen else {}  # a wrong name: `resolve` says so


def _last(layers: list[Layer], path: str) -> Given | None:
    return next((layer.values[path] for layer in reversed(layers) if path in layer.values), None)


def _text(given: Given | None, default: str) -> tuple[str, str]:
    return (default, "default") if given is None else (str(given.value), given.origin.said)


def _shown(path: Path, folder: Path) -> str:
    try:
        return str(path.relative_to(folder))
    except ValueError:
        return str(path)
