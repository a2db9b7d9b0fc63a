"""What files and the environment say, each as a layer. The only place that reads them, once, when something starts.

pydantic-settings does the reading; it is imported here when it is needed, so that `import rolltape` stays quick.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .config_base import Frozen, section_of, settings_of
from .config_provenance import Given, Layer, Origin
from .config_resolve import flatten, unknown_key
from .config_tree import Config
from .errors import ConfigError
from .near_names import near

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

PREFIX: Final = "ROLLTAPE_"
BETWEEN: Final = "__"
WIRING: Final = "ROLLTAPE__"
"""Variables that begin like this connect processes of one run with each other. They are no settings."""
RUN_VARIABLE: Final = f"{WIRING}RUN_ID"
"""The run that a process is told to record into, by whoever started it."""
CONFIG_VARIABLE: Final = "ROLLTAPE_CONFIG"
OTHER_VARIABLES: Final = frozenset({CONFIG_VARIABLE})
"""Variables that begin with the prefix and are no keys of the tree."""
ROOT_SECTION: Final = "rolltape"


def variable_of(path: str) -> str:
    """The environment variable of a key: `durable.seed` is `ROLLTAPE_DURABLE__SEED`."""
    return PREFIX + path.replace(".", BETWEEN).upper()


# ---- files ----


def project_files(folder: Path) -> list[Path]:
    """TOML files that hold for `folder`, the weaker first: those of the nearest folder upwards that has any."""
    for place in (folder, *folder.parents):
        found = [place / name for name in ("pyproject.toml", "rolltape.toml") if (place / name).is_file()]
        if found:
            return found
        if (place / ".git").exists():
            break
    return []


def file_layer(path: Path, *, shown: str | None = None) -> Layer:
    """What a TOML file says: `[tool.rolltape]` or `[rolltape]`, and in a file of our own the keys themselves.

    Args:
        path: the file.
        shown: how messages name it.

    Raises:
        ConfigError: no such file, no TOML, or settings in two places.
    """
    from pydantic_settings import TomlConfigSettingsSource

    shown = shown or str(path)
    if path.is_dir():
        usual = Path(shown) / "rolltape.toml"
        raise ConfigError(f"{shown} is a folder; name a file of settings in it, such as {usual}.")
    if not path.is_file():
        raise ConfigError(f"{shown}: there is no such file of settings.")
    try:
        data = TomlConfigSettingsSource(_reader(), toml_file=path).toml_data
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{shown} is not TOML: {error}.") from None
    except OSError as error:
        raise ConfigError(f"{shown} cannot be read: {error.strerror}.") from None
    own = data.get(ROOT_SECTION)
    tool = data.get("tool", {}).get(ROOT_SECTION) if isinstance(data.get("tool"), dict) else None
    if own is not None and tool is not None:
        raise ConfigError(f"{shown} has both [tool.rolltape] and [rolltape]; keep one of them.")
    mine = tool if tool is not None else own
    if mine is None:
        mine = {} if path.name == "pyproject.toml" else data
    if not isinstance(mine, dict):
        raise ConfigError(f"{shown}: rolltape = {mine!r} is no table of settings.")

    def origin(at: str) -> Origin:
        return Origin(f"config:{at.rpartition('.')[0] or ROOT_SECTION}", shown)

    return Layer(f"config:{shown}", flatten(mine, origin))


# ---- the environment ----


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """What `ROLLTAPE_…` variables say. Raises ConfigError for one that is no key."""
    return _variables({name: value for name, value in environ.items() if name.upper().startswith(PREFIX)}, "")


def dotenv_layer(path: Path) -> Layer:
    """What `ROLLTAPE_…` lines of a `.env` file say; nothing where there is none. Raises ConfigError."""
    if not path.is_file():
        return Layer(".env", {})
    from pydantic_settings import DotEnvSettingsSource

    try:
        source = DotEnvSettingsSource(_reader(), env_file=path, case_sensitive=True, env_ignore_empty=True)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} cannot be read: {error}.") from None
    found = {name: value for name, value in source.env_vars.items() if name.startswith(PREFIX) and value is not None}
    return _variables(found, path.name)


def _variables(given: Mapping[str, str], place: str) -> Layer:
    from pydantic_settings import EnvSettingsSource

    by_name = {name.upper(): value for name, value in given.items() if value}
    by_name = {n: v for n, v in by_name.items() if n not in OTHER_VARIABLES and not _is_wiring(n)}
    unknown = list(_unknown(by_name, place))
    if unknown:
        raise ConfigError("\n".join(unknown))

    class Source(EnvSettingsSource):
        def _load_env_vars(self) -> Mapping[str, str | None]:
            return {name.lower(): value for name, value in by_name.items()}

        def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
            return _decoded(field, value)

    def origin(at: str) -> Origin:
        parts = at.split(".")
        names = [variable_of(".".join(parts[:n])) for n in range(len(parts), 0, -1)]
        return Origin(f"env:{next((name for name in names if name in by_name), names[0])}", place)

    data = Source(_reader(), env_prefix=PREFIX, env_nested_delimiter=BETWEEN)()
    return Layer(place or "environment", flatten(data, origin))


def _is_wiring(name: str) -> bool:
    """Whether Rolltape sets this variable for its own processes; a setting with one underscore too many is none."""
    return name.startswith(WIRING) and BETWEEN not in name.removeprefix(WIRING)


def _decoded(field: Any, text: str) -> Any:
    """JSON where it is; `a, b` for a list; the text itself for a section, which may have a short form."""
    try:
        return json.loads(text)
    except ValueError:
        return text if section_of(field) is not None else [part.strip() for part in text.split(",")]


def _unknown(names: Mapping[str, str], place: str) -> Iterator[str]:
    known = [setting.path for setting in settings_of(Config)]
    for name, value in names.items():
        path = name.removeprefix(PREFIX).lower().replace(BETWEEN, ".")
        head = path.partition(".")[0]
        if head not in Config.model_fields:
            where = f" in {place}" if place else ""
            meant = " or ".join(variable_of(hit) for hit in near(path, known))
            meant = f" Did you mean {meant}?" if meant else ""
            yield (
                f"{name} = {value!r}: no setting has this variable{where}.{meant} Sections are "
                f"divided by two underscores: {variable_of('durable.seed')}."
            )


# ---- what is given on a command line or in Python ----


def options_layer(options: Mapping[str, Given]) -> Layer:
    """Options of a command, by the paths of their keys."""
    return Layer("cli", dict(options))


def assignments(given: list[str]) -> dict[str, Given]:
    """What `--set KEY=VALUE` says. Raises ConfigError for what is no assignment or no key."""
    found: dict[str, Given] = {}
    for text in given:
        path, equals, value = text.partition("=")
        path = path.strip()
        if not equals or not path:
            raise ConfigError(f"--set {text}: expected KEY=VALUE, such as durable.commit.max_age_s=0.5.")
        origin = Origin("cli", f"--set {text}")
        setting = next((s for s in settings_of(Config) if s.path == path), None)
        if setting is None and not _is_section(path):
            raise ConfigError(unknown_key(path, value, f"from {origin.said}"))
        loaded: Any = value.strip()
        if setting is None or "tuple" in str(setting.field.annotation):
            field = setting.field if setting is not None else _field(path)
            loaded = _decoded(field, loaded)
        tree: dict[str, Any] = {}
        at = tree
        *sections, name = path.split(".")
        for section in sections:
            at = at.setdefault(section, {})
        at[name] = loaded
        found |= flatten(tree, lambda _path, origin=origin: origin)
    return found


def _is_section(path: str) -> bool:
    field = _field(path)
    return field is not None and section_of(field) is not None


def _field(path: str) -> Any:
    model: type[Frozen] | None = Config
    field = None
    for part in path.split("."):
        field = model.model_fields.get(part) if model is not None else None
        model = section_of(field) if field is not None else None
    return field


def python_layer(data: Mapping[str, Any], place: str) -> Layer:
    """What was given in Python, nested as the tree is; None is left out."""
    return Layer("override", flatten(_without_none(data), lambda _path: Origin("override", place)))


def _without_none(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _without_none(v) if isinstance(v, Mapping) else v for k, v in data.items() if v is not None}


_READER: list[type[BaseSettings]] = []


def _reader() -> type[BaseSettings]:
    """The tree as pydantic-settings wants it; never instantiated, because what it reads is merged first."""
    if not _READER:
        from pydantic_settings import BaseSettings, SettingsConfigDict

        class Reader(BaseSettings):
            model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)
            __annotations__ = {name: field.annotation for name, field in Config.model_fields.items()}

        _READER.append(Reader)
    return _READER[0]
