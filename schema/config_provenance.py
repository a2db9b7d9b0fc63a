"""Where each value of the configuration comes from.

Rules:
1. A source is one of `default`, `profile:<name>`, `preset:<name>`, `config:<section>`, `env:<VARIABLE>`, `cli` and
   `override`; a later one wins. A file's or option's name stands in `place`.
2. `derived`: a validator made the value of others. `runtime`: it was settled after the start, such as how many workers
   an automatic number became. Both keep the source of the value that they replace.
3. Every leaf has a source: there is no value without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from .config_base import Setting, settings_of
from .config_tree import Config
from .errors import ConfigError
from .near_names import did_you_mean

Mutation = Literal["", "derived", "runtime"]

LEGEND: Final = (
    ("default", "the value of the class: nothing else was said"),
    ("profile:<name>", "what suits a machine of this size; chosen from cores, memory and the lake's disk"),
    ("preset:<name>", "what suits a family of environments, or yours: a TOML file of your own"),
    ("config:<section>", "a TOML file: pyproject.toml, rolltape.toml, then --config"),
    ("env:<VARIABLE>", "a variable ROLLTAPE_…, first in .env, then in the environment"),
    ("cli", "an option of the command"),
    ("override", "an argument in Python"),
    ("(derived)", "a validator made it of other values"),
    ("(runtime)", "settled when the run started"),
)
"""Sources in their order, a later one wins; then mutations."""
DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from."""

    source: str = DEFAULT
    place: str = ""
    mutation: Mutation = ""

    def __str__(self) -> str:
        return f"{self.source} ({self.mutation})" if self.mutation else self.source

    @property
    def said(self) -> str:
        """With the file or option that it stands in: `config:durable in rolltape.toml`."""
        return f"{self} in {self.place}" if self.place and self.place != self.source else str(self)


@dataclass(frozen=True, slots=True)
class Given:
    """A value as a source gave it, before anything was checked."""

    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True)
class Layer:
    """All that one source says: values by the paths of their keys."""

    name: str
    values: Mapping[str, Given]

    def __bool__(self) -> bool:
        return bool(self.values)


@dataclass(frozen=True, slots=True)
class RiskyValue:
    """A value that is allowed and costs something."""

    path: str
    value: Any
    unit: str
    cost: str
    origin: Origin

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.path} = {self.value}{unit} is allowed, but {self.cost} (from {self.origin.said})"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration and where each of its values comes from.

    Attributes:
        config: the values.
        origins: of every leaf, by its path.
        layers: what each source said, the weakest first.
        runtime: values that were settled after the start, by their paths.
        evidence: why a profile and a preset were chosen, as facts.
    """

    config: Config
    origins: Mapping[str, Origin]
    layers: Sequence[Layer] = ()
    runtime: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def value(self, path: str) -> Any:
        """The value of a leaf, as it is in force. Raises ConfigError for an unknown path."""
        if path in self.runtime:
            return self.runtime[path]
        return self._configured(setting_of(path).path)

    def _configured(self, path: str) -> Any:
        found: Any = self.config
        for part in path.split("."):
            found = getattr(found, part)
        return found

    def origin(self, path: str) -> Origin:
        """Where the value of a leaf comes from. Raises ConfigError for an unknown path."""
        return self.origins[setting_of(path).path]

    def settled(self, values: Mapping[str, Any]) -> Resolved:
        """This, with values that became known after the start; those that did not change are left as they were."""
        changed = {path: value for path, value in values.items() if value != self.value(path)}
        origins = {**self.origins, **{path: replace(self.origins[path], mutation="runtime") for path in changed}}
        return replace(self, origins=origins, runtime={**self.runtime, **changed})

    @property
    def risks(self) -> list[RiskyValue]:
        """Values that are allowed and cost something, in the order of the tree."""
        found = []
        for setting in settings_of(Config):
            value, origin = self.value(setting.path), self.origins[setting.path]
            risk = setting.risk_of(value) if origin.source != DEFAULT else None
            if risk is not None:
                found.append(RiskyValue(setting.path, value, setting.unit, risk.cost, origin))
        return found

    def table(self) -> list[dict[str, Any]]:
        """Every value as a row of JSON values: key, value, unit, default, source, place, mutation."""
        rows = []
        usual = dict(leaves(Config()))
        for setting in settings_of(Config):
            origin = self.origins[setting.path]
            rows.append(
                {
                    "key": setting.path,
                    "value": plain(self.value(setting.path)),
                    "unit": setting.unit,
                    "default": plain(usual[setting.path]),
                    "source": origin.source,
                    "place": origin.place,
                    "mutation": origin.mutation,
                }
            )
        return rows

    def changed(self) -> list[dict[str, Any]]:
        """The rows of `table` whose value is not the default."""
        return [row for row in self.table() if row["value"] != row["default"]]

    def ladder(self, path: str) -> list[Given]:
        """All that was said of a leaf, the weakest first; the last one holds, unless a validator derived another."""
        setting = setting_of(path)
        said = [Given(setting.default, Origin())]
        for layer in self.layers:
            for at, given in layer.values.items():
                if at == path or path.startswith(f"{at}."):
                    said.append(given)
        return said


def setting_of(path: str) -> Setting:
    """The leaf at `path`. Raises ConfigError with near ones where there is none."""
    for setting in settings_of(Config):
        if setting.path == path:
            return setting
    paths = [setting.path for setting in settings_of(Config)]
    inside = [known for known in paths if known.startswith(f"{path}.")]
    if inside:
        raise ConfigError(f"{path}: is a section; its keys are {', '.join(inside)}")
    sections = {known.rpartition(".")[0] for known in paths} - {""}
    known = [*paths, *sorted(sections)]
    raise ConfigError(f"{path}: unknown key.{did_you_mean(path, known)} `rolltape config show` lists them.")


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def leaves(config: Config) -> Iterator[tuple[str, Any]]:
    """Every leaf of a configuration with its value."""
    for setting in settings_of(Config):
        found: Any = config
        for part in setting.path.split("."):
            found = getattr(found, part)
        yield setting.path, found
