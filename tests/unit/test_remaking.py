"""What makes no environment is refused before anything is replayed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rolltape.actors.remaking import make_again, native_again
from rolltape.actors.stepping import EnvRecipe, make_env
from rolltape.schema.errors import EnvError, ReplayFailed, UnknownEnvironment

NO_RUN: Any = None


def test_a_callable_that_makes_something_else() -> None:
    recipe = EnvRecipe("os:getcwd")
    with pytest.raises(EnvError, match=r"^os:getcwd makes '/.*', which is not a gymnasium\.Env\. Say what makes"):
        make_again(NO_RUN, recipe)
    with pytest.raises(ReplayFailed, match=r"^os:getcwd makes /.*; a replay of this run needs the native vector"):
        native_again(recipe, 2, {})


def test_a_name_that_is_no_callable() -> None:
    with pytest.raises(UnknownEnvironment, match=re.escape("No environment 'os:sep': it is '/'. Name a callable")):
        make_env(EnvRecipe("os:sep"))
