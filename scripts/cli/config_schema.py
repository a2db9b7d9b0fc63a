"""`rolltape config schema`."""

from __future__ import annotations

import json


def schema() -> None:
    """Print the JSON Schema of all settings, with units, ranges, reasons and what risky values cost."""
    from rolltape.schema.config_tree import Config

    print(json.dumps(Config.model_json_schema(), indent=2, default=str))
