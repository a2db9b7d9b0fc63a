"""The face of Rolltape: the names that `import rolltape` offers, each loaded when it is first used.

Never here: code that does something. Importing the face loads neither Ray nor DuckDB, PyArrow or Gymnasium.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Fleet",
    "record",
    "open",
    "Lake",
    "Run",
    "Episode",
    "RecordConfig",
    "RolltapeError",
    "parts",
    "replay",
    "ReplayReport",
    "import_v0",
    "ImportReport",
    "feed_v0",
    "compact",
    "retain",
    "vacuum",
    "__version__",
]

if TYPE_CHECKING:
    from rolltape.actors.fleet import Fleet
    from rolltape.actors.legacy_feed import feed_v0
    from rolltape.actors.legacy_import import ImportReport, import_v0
    from rolltape.actors.recorded_env import record
    from rolltape.actors.replay import replay
    from rolltape.actors.replayed import ReplayReport
    from rolltape.actors.rerender import open_lake as open
    from rolltape.schema.config import RecordConfig
    from rolltape.schema.errors import RolltapeError
    from rolltape.storage.lake import Episode, Lake, Run, parts
    from rolltape.storage.upkeep import compact, retain, vacuum
else:
    # Name -> "module:attribute". For type checkers: the imports above; tests/test_face.py keeps both equal.
    _PLACES = {
        "Fleet": "rolltape.actors.fleet:Fleet",
        "record": "rolltape.actors.recorded_env:record",
        "open": "rolltape.actors.rerender:open_lake",
        "Lake": "rolltape.storage.lake:Lake",
        "Run": "rolltape.storage.lake:Run",
        "Episode": "rolltape.storage.lake:Episode",
        "RecordConfig": "rolltape.schema.config:RecordConfig",
        "RolltapeError": "rolltape.schema.errors:RolltapeError",
        "parts": "rolltape.storage.lake:parts",
        "replay": "rolltape.actors.replay:replay",
        "ReplayReport": "rolltape.actors.replayed:ReplayReport",
        "import_v0": "rolltape.actors.legacy_import:import_v0",
        "ImportReport": "rolltape.actors.legacy_import:ImportReport",
        "feed_v0": "rolltape.actors.legacy_feed:feed_v0",
        "compact": "rolltape.storage.upkeep:compact",
        "retain": "rolltape.storage.upkeep:retain",
        "vacuum": "rolltape.storage.upkeep:vacuum",
    }

    def __getattr__(name: str) -> Any:
        place = _PLACES.get(name)
        if place is None:
            offered = ", ".join(__all__)
            raise AttributeError(f"module 'rolltape' has no attribute {name!r}; it offers {offered}")
        module, attribute = place.split(":")
        value = getattr(importlib.import_module(module), attribute)
        globals()[name] = value  # the next access finds it without coming here
        return value

    def __dir__() -> list[str]:
        return sorted(set(globals()) | set(__all__))
