"""The table of all settings in docs/configuration.md, from the declarations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rolltape.schema.config_base import Setting, section_of, settings_of
from rolltape.schema.config_provenance import plain
from rolltape.schema.config_tree import Config

PLACE: Final = re.compile(r"(<!-- settings: begin -->\n).*?(<!-- settings: end -->)", re.S)


def with_settings(page: str) -> str:
    """The page with its table written anew, between the two marks."""
    return PLACE.sub(lambda found: found[1] + "\n".join(_tables()) + "\n" + found[2], page)


def _tables() -> Iterator[str]:
    settings = list(settings_of(Config))
    for section in dict.fromkeys(setting.path.rpartition(".")[0] for setting in settings):
        yield f"\n### {section or 'At the top'}\n"
        if said := _said(section):
            yield f"{said}\n"
        yield "| key | default | allowed | why, and what a risky value costs |"
        yield "|---|---|---|---|"
        for setting in settings:
            if setting.path.rpartition(".")[0] == section:
                yield _row(setting)
    yield ""


def _said(section: str) -> str:
    model = Config
    for part in section.split(".") if section else ():
        model = section_of(model.model_fields[part]) or model
    return " ".join((model.__doc__ or "").split()) if section else ""


def _row(setting: Setting) -> str:
    default = plain(setting.default)
    shown = f"{default:,}" if isinstance(default, int) and not isinstance(default, bool) else str(default)
    risks = "".join(f" Risky {risk.bounds}: {risk.cost}." for risk in setting.risks)
    cells = [f"`{setting.name}`", f"`{shown}`", setting.allowed, setting.reason + risks]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
