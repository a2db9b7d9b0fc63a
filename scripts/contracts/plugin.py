"""The pytest plugin `rolltape`: the contract of an adapter as tests.

    pytest --rolltape-adapter my.package:MyAdapter My/Env-v0 [module:make …]

With the option, what is named besides are environments, and nothing else is collected. Without it the plugin does
nothing but offer the fixture `rolltape_contract`. Every pytest where Rolltape is installed loads it, so it
imports nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .adapter_contract import AdapterContract

SUITE = Path(__file__).with_name("suite.py")
_ENVS = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the contract."""
    group = parser.getgroup("rolltape", "contracts of Rolltape")
    group.addoption(
        "--rolltape-adapter",
        metavar="ADAPTER",
        help="run the contract of this environment adapter (module:Class, a name, or auto for the one that fits) with "
        "the environments that are named: a registered id, module:Id-v0 or module:callable",
    )
    group.addoption("--rolltape-env-kwargs", metavar="JSON", default="{}", help="arguments of the environments")
    group.addoption(
        "--rolltape-without-ray", action="store_true", help="leave out the check that records, which starts Ray"
    )


def pytest_configure(config: pytest.Config) -> None:
    """With an adapter, the arguments are environments and the suite is what is collected."""
    if config.getoption("--rolltape-adapter") is None:
        return
    envs = [name for name in config.invocation_params.args if str(name) in config.args and not Path(str(name)).exists()]
    if not envs:
        raise pytest.UsageError(
            "--rolltape-adapter: name at least one environment, as in `pytest --rolltape-adapter A Env-v0`"
        )
    try:
        kwargs = json.loads(str(config.getoption("--rolltape-env-kwargs")))
    except ValueError as error:
        raise pytest.UsageError(f"--rolltape-env-kwargs: no JSON object: {error}") from None
    if not isinstance(kwargs, dict):
        raise pytest.UsageError(f"--rolltape-env-kwargs: expected a JSON object (got {kwargs!r})")
    config.stash[_ENVS] = [str(name) for name in envs]
    config.args[:] = [str(SUITE)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test of the suite once for each environment."""
    if "rolltape_contract" in metafunc.fixturenames and _ENVS in metafunc.config.stash:
        from .adapter_contract import CHECKS

        metafunc.parametrize("rolltape_check", CHECKS)
        metafunc.parametrize("rolltape_contract", metafunc.config.stash[_ENVS], indirect=True, scope="session")


@pytest.fixture(scope="session")
def rolltape_contract(request: pytest.FixtureRequest) -> AdapterContract:
    """The contract of the adapter and an environment of the command line, or of `(adapter, env)` as the parameter."""
    from .adapter_contract import AdapterContract

    config: Any = request.config
    if not hasattr(request, "param"):
        raise pytest.UsageError("rolltape_contract: parametrize it with (adapter, env), indirect=True")
    if isinstance(request.param, tuple):
        return AdapterContract(*request.param)
    kwargs = json.loads(config.getoption("--rolltape-env-kwargs"))
    return AdapterContract(config.getoption("--rolltape-adapter"), request.param, kwargs)
