"""One test a promise of `adapter_contract`; what the plugin collects for `pytest --rolltape-adapter`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rolltape.scripts.contracts import adapter_contract as contract


@pytest.mark.parametrize("check", contract.CHECKS)
def test_contract(check: str, rolltape_contract: Any, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A promise is kept."""
    if check == "recorded" and request.config.getoption("--rolltape-without-ray"):
        pytest.skip("--rolltape-without-ray")
    rolltape_contract.check(check, tmp_path)
