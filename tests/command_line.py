"""The command line as a program that is started, in this process."""

from __future__ import annotations

import pytest

from rolltape.scripts.cli import main


def exit_code(*arguments: str) -> int:
    """`rolltape ARGUMENTS`; the code that it exits with."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)
