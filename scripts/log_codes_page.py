"""The page docs/log-codes.md, from the catalogue."""

from __future__ import annotations

from rolltape.schema.log_codes import CATALOGUE

HEAD = """# Log codes

Written from `schema/log_codes.py` by `make docs`; edit that. What a record is and how to read them: [logs.md](logs.md).
"""


def log_codes_page() -> str:
    """The whole page as Markdown: a section a component, a row a code."""
    lines = [HEAD]
    for component in CATALOGUE.components():
        lines += [f"## {component}", "", "| code | level | part | message | what to do | tags |"]
        lines.append("|---|---|---|---|---|---|")
        for entry in CATALOGUE:
            if entry.component == component:
                cells = (
                    entry.code,
                    entry.level,
                    entry.subcomponent,
                    f"`{entry.message}`",
                    entry.action,
                    ", ".join(entry.tags),
                )
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)
