"""One test a promise of `adapter_contract`; what the plugin collects for `pytest --rolltape-adapter`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_contract(rolltape_check: str, rolltape_contract: Any, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A promise is kept."""
    if rolltape_check == "recorded" and request.config.getoption("--rolltape-without-ray"):
        pytest.skip("--rolltape-without-ray")
    rolltape_contract.check(rolltape_check, tmp_path)
