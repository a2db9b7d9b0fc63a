"""From what the sources say to one checked configuration, or to a refusal that names all that is wrong.

A refusal is one line a problem: the key, the value, what is allowed, where it came from, and what was meant perhaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from .config_base import Frozen, section_of, settings_of
from .config_provenance import Given, Layer, Origin, Resolved, leaves
from .config_tree import Config
from .errors import ConfigError
from .near_names import did_you_mean

SHOWN_CHARACTERS = 80


def flatten(data: Mapping[str, Any], origin_of: Any, model: type[Frozen] = Config, path: str = "") -> dict[str, Given]:
    """Values by the paths of their leaves; what fits no section stays whole, to be refused as it is.

    Args:
        data: nested as the tree is.
        origin_of: a function of a path that gives its `Origin`.
        model: the section that `data` is of.
        path: of that section, with its final dot.
    """
    found: dict[str, Given] = {}
    for name, value in data.items():
        at = f"{path}{name}"
        field = model.model_fields.get(name)
        section = section_of(field) if field is not None else None
        if section is not None:
            value = section.expand(value)
            if isinstance(value, Frozen):
                value = value.model_dump(exclude_unset=True)
            if isinstance(value, Mapping):
                found |= flatten(value, origin_of, section, f"{at}.")
                continue
        found[at] = Given(value, origin_of(at))
    return found


def resolve(layers: Sequence[Layer], evidence: Mapping[str, Any] | None = None) -> Resolved:
    """Merge what the sources say and check it.

    Args:
        layers: the weakest first.
        evidence: kept with the result.

    Raises:
        ConfigError: with every key or value that is not allowed.
    """
    merged: dict[str, Given] = {}
    for layer in layers:
        for path, given in layer.values.items():
            for other in [o for o in merged if o.startswith(f"{path}.") or path.startswith(f"{o}.")]:
                del merged[other]
            merged[path] = given
    try:
        config = Config.model_validate(_nested({path: given.value for path, given in merged.items()}))
    except ValidationError as error:
        raise ConfigError("\n".join(_refusals(error, merged))) from None
    origins: dict[str, Origin] = {}
    for (path, value), (_, usual) in zip(leaves(config), leaves(Config()), strict=True):
        given = merged.get(path)
        origin = given.origin if given is not None else Origin()
        if (given is None and value != usual) or (given is not None and _derived(given.value, value)):
            origin = replace(origin, mutation="derived")
        origins[path] = origin
    return Resolved(config, origins, tuple(layers), evidence=evidence or {})


def _derived(given: Any, value: Any) -> bool:
    """Whether a validator replaced a value, rather than read a text as a number."""
    if isinstance(given, str) and not isinstance(value, str):
        return False
    return (list(given) if isinstance(given, tuple | list) else given) != (
        list(value) if isinstance(value, tuple | list) else value
    )


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *sections, name = path.split(".")
        at = tree
        for section in sections:
            at = at.setdefault(section, {})
        at[name] = value
    return tree


def _refusals(error: ValidationError, merged: Mapping[str, Given]) -> Iterator[str]:
    known = {setting.path: setting for setting in settings_of(Config)}
    for item in error.errors(include_url=False):
        path = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            yield unknown_key(path, item["input"], _from(path, merged))
            continue
        while path and path not in known and path.rpartition(".")[0] in known:
            path = path.rpartition(".")[0]  # an item of a list
        setting = known.get(path)
        if setting is None:
            message = item["msg"].removeprefix("Value error, ")
            if isinstance(item["input"], Mapping | Frozen):  # a rule about several keys, and where they come from
                places = sorted({f"{at} from {g.origin.said}" for at, g in merged.items() if at.startswith(f"{path}.")})
                yield f"{path}: {message}." + (f" Given are {', '.join(places)}." if places else "")
            else:
                yield f"{path}: {_shown(item['input'])} is no section of settings ({_from(path, merged)})."
            continue
        yield (
            f"{path}: {_shown(item['input'])} is not allowed; it must be {setting.allowed} ({_from(path, merged)})."
            f"{did_you_mean(item['input'], map(str, setting.choices)) if isinstance(item['input'], str) else ''}"
        )


def unknown_key(path: str, value: Any, place: str) -> str:
    """What to say of a key that is none."""
    section, _, _ = path.rpartition(".")
    keys = list(keys_in(section))
    everywhere = [setting.path for setting in settings_of(Config)]
    everywhere += sorted({path.rpartition(".")[0] for path in everywhere} - {""})
    meant = did_you_mean(path, [f"{section}.{key}" if section else key for key in keys] + everywhere)
    inside = ", ".join(keys) if keys else f"nothing, there is no section {section}"
    return f"{path} = {_shown(value)}: unknown key ({place}).{meant} Allowed: {inside}."


def keys_in(section: str) -> Iterable[str]:
    """Names of the keys and sections in a section; `""` is the root. Nothing for an unknown one."""
    model: type[Frozen] | None = Config
    for part in section.split(".") if section else ():
        field = model.model_fields.get(part) if model is not None else None
        model = section_of(field) if field is not None else None
    return model.model_fields if model is not None else ()


def _from(path: str, merged: Mapping[str, Given]) -> str:
    while path:
        if path in merged:
            return f"from {merged[path].origin.said}"
        path = path.rpartition(".")[0]
    return "from default"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
