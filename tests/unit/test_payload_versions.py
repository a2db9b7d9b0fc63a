"""Versions are negotiated, said clearly where it fails, and counted in markers without a cost for those who do not care."""

from __future__ import annotations

import json
import pickle

import pytest

from rolltape.schema.columns import PAYLOAD_VERSION
from rolltape.schema.errors import SchemaError, VersionRefused
from rolltape.schema.messages import ProducerKey, Watermark
from rolltape.schema.mismatches import KINDS, MOST_FIELDS, OBSERVATION_NAN, REWARD_NAN, Mismatch, MismatchCounts
from rolltape.schema.payload_versions import ALL, negotiate, taken_from
from rolltape.storage.layout import CommitRange, WriterId
from rolltape.storage.markers import Marker


@pytest.mark.parametrize(
    ("spoken", "oldest", "agreed"), [((1,), 0, 1), ((0, 1), 0, 1), ((0,), 0, 0), ((0, 1), 1, 1), ((1, 2, 3), 1, 1)]
)
def test_the_newest_that_both_know(spoken: tuple[int, ...], oldest: int, agreed: int) -> None:
    assert negotiate(spoken, taken_from(oldest), "p0.0", "R") == agreed


@pytest.mark.parametrize(
    ("spoken", "said"),
    [
        ((0,), r"p3\.0 on h speaks payload version 0, run R takes only 1\. Upgrade .* oldest_payload=0"),
        ((2, 3), r"speaks payload version 2 and 3, run R takes only 1\. It is newer than this run"),
        ((), r"speaks payload version none"),
    ],
)
def test_what_nobody_shares_is_refused(spoken: tuple[int, ...], said: str) -> None:
    with pytest.raises(VersionRefused, match=said) as refused:
        negotiate(spoken, taken_from(1), "p3.0 on h", "R")
    assert isinstance(refused.value, SchemaError)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_the_newest_version_is_the_stored_one() -> None:
    assert ALL[-1] == PAYLOAD_VERSION and sorted(ALL) == list(ALL)


def marker(mark: Watermark) -> Marker:
    return Marker(CommitRange(WriterId(0, 0), 1, 1), 5, watermarks={ProducerKey(0, 0): mark})


def test_markers_carry_version_and_mismatches() -> None:
    said = marker(Watermark(3, 4, 1, 0, (Mismatch("reward_nan", "reward", 2),)))
    assert Marker.from_bytes(said.to_bytes(), said.commits.marker_name) == said


def test_a_marker_without_them_is_as_it_was() -> None:
    said = marker(Watermark(3, 4, 1))
    assert json.loads(said.to_bytes())["watermarks"] == {"p0.0": {"sequence": 3, "steps": 4, "episodes": 1}}
    assert Marker.from_bytes(said.to_bytes(), said.commits.marker_name) == said


def test_counts_are_by_code_and_field() -> None:
    counts = MismatchCounts()
    assert not counts
    assert counts.add(REWARD_NAN, "reward")
    assert not counts.add(REWARD_NAN, "reward", 2)
    assert counts.add(OBSERVATION_NAN, "observation['a']")
    assert counts.add(OBSERVATION_NAN, "observation['b']")
    assert (counts.total, dict(counts.by_code())) == (5, {"observation_nan": 2, "reward_nan": 3})
    assert MismatchCounts(counts.frozen()).frozen() == counts.frozen()


def test_fields_without_end_are_counted_together() -> None:
    counts = MismatchCounts()
    for number in range(2 * MOST_FIELDS):
        counts.add(REWARD_NAN, f"field {number}")
    assert counts.total == 2 * MOST_FIELDS
    assert len(counts.frozen()) == MOST_FIELDS + 1
    assert max(counts, key=lambda m: m.count) == Mismatch("reward_nan", "…", MOST_FIELDS)


def test_codes_are_names() -> None:
    assert all(code == kind.code and code.isidentifier() and code.islower() for code, kind in KINDS.items())
    assert len(KINDS) > 10
