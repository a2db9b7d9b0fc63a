"""Signatures never change: the golden file holds them since each space came into the catalogue."""

import json

import pytest

from rolltape.schema.spaces import describe_space, space_from_descriptor, space_signature
from tests.space_catalogue import CATALOGUE, GOLDEN


def test_every_space_of_the_catalogue_is_in_the_golden_file() -> None:
    assert list(json.loads(GOLDEN.read_text())) == list(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_signature_is_the_golden_one(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    space = CATALOGUE[name]
    assert space_signature(space) == golden
    assert space_signature(json.loads(json.dumps(describe_space(space)))) == golden
    assert space_signature(space_from_descriptor(describe_space(space))) == golden


def test_all_signatures_differ() -> None:
    assert len(set(json.loads(GOLDEN.read_text()).values())) == len(CATALOGUE)
