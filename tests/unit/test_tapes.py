"""Tapes: an environment is compared with what was recorded, to the first step that is not the same, and nothing leaks."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pytest
from gymnasium import spaces as gs
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors import compiled_rows, tapes
from rolltape.actors.compared_infos import InfoRows
from rolltape.schema.space_codec import SpaceCodec
from tests.leaks import assert_nothing_leaks

pytestmark = pytest.mark.skipif(bool(compiled_rows.WHY_NOT), reason=compiled_rows.WHY_NOT)

BOX = gs.Box(-1.0, 1.0, (3,), np.float32)
FIVE = 5


def infos_of(rows: list[dict[str, Any]], types: dict[str, pa.DataType] | None = None, text: str | None = None) -> InfoRows:
    """Recorded infos: `rows` in columns of these types, and one JSON text in the last row."""
    texts = pa.array([None] * (len(rows) - 1) + [text], pa.string())
    if not types:
        return InfoRows(None, texts)
    arrays = [pa.array([row.get(name) for row in rows], kind) for name, kind in types.items()]
    return InfoRows(pa.StructArray.from_arrays(arrays, fields=[pa.field(*item) for item in types.items()]), texts)


class Recording:
    """Five steps, what an environment gives that repeats them, and the tape."""

    def __init__(self, space: Any = BOX, types: dict[str, pa.DataType] | None = None, known: Any = None) -> None:
        space.seed(3)
        self.values = [space.sample() for _ in range(FIVE)]
        dtype, shape = SpaceCodec(space).leaves[0].dtype, space.shape
        self.array = np.array(self.values, dtype).reshape(FIVE, *shape)
        self.rewards = np.array([0.0, -0.0, np.nan, 1.5, -1.0])
        self.ends = np.array([False, True, False, False, True]), np.array([True, True, False, True, False])
        self.infos: list[dict[str, Any]] = [{} for _ in range(FIVE)]
        if types:
            self.infos = [{"lives": 3, "odds": 0.5, "seen": True}, {"lives": -1}, {}, {"seen": False}, {"odds": -0.0}]
            self.infos = [{k: v for k, v in info.items() if k in types} for info in self.infos]
        self.space, self.types, self.known = space, types, known

    def tape(self, **changed: Any) -> Any:
        given = {"infos": infos_of(self.infos, self.types), "observations": self.array, "ignored": (), **changed}
        made = tapes.tape(
            SpaceCodec(self.space), given["observations"], self.known, self.rewards, self.ends, given["infos"],
            given["ignored"],
        )  # fmt: skip
        assert made is not None
        return made

    def returned(self) -> list[tuple[Any, ...]]:
        """What steps return, in objects of their own."""
        columns = self.values, self.rewards.tolist(), *[flags.tolist() for flags in self.ends], self.infos
        return [
            (np.copy(v) if isinstance(v, np.ndarray) else v, r, te, tr, dict(info))
            for v, r, te, tr, info in zip(*columns, strict=True)
        ]


def played(tape: Any, returned: list[Any], row: int = 0) -> int:
    """How many steps were as recorded; actions are the places of what is returned."""
    done, last = tape.play(returned.__getitem__, list(range(len(returned))), row)
    taken = min(done, len(returned) - 1)
    assert last is returned[taken]
    return done


NUMBERS = {"lives": pa.int64(), "odds": pa.float64(), "seen": pa.bool_()}
SPACES = [
    BOX,
    gs.Box(0, 255, (4, 5, 3), np.uint8),
    gs.Box(-1, 1, (), np.float64),
    gs.Discrete(5),
    gs.Discrete(3, start=-1),
    gs.MultiBinary(7),
    gs.MultiDiscrete([3, 4]),
]


@pytest.mark.parametrize("types", [None, NUMBERS])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_what_is_repeated_is_the_same(space: Any, types: Any) -> None:
    recording = Recording(space, types)
    returned = recording.returned()
    if not isinstance(space, gs.Discrete) and space.shape == ():
        returned = [(np.array(value), *rest) for value, *rest in returned]  # of shape (); a number is left to Python
    assert played(recording.tape(), returned) == FIVE
    assert played(recording.tape(), returned[2:], row=2) == FIVE - 2


class Sub(np.ndarray):
    pass


class Info(dict[str, Any]):
    pass


def unlike(place: int, how: int, was: tuple[Any, ...]) -> tuple[Any, ...]:
    """A step that is not quite as it was."""
    observation, reward, terminated, truncated, info = was
    other = observation.copy()
    other.view(np.uint8)[how % other.nbytes] ^= 1 << (how % 8)
    wrong = [
        (other, reward, terminated, truncated, info),
        (observation.astype(np.float64), reward, terminated, truncated, info),
        (observation[None], reward, terminated, truncated, info),
        (observation.view(Sub), reward, terminated, truncated, info),
        (observation.tolist(), reward, terminated, truncated, info),
        (observation, -reward if reward == reward else 7.0, terminated, truncated, info),
        (observation, str(reward), terminated, truncated, info),
        (observation, reward, not terminated, truncated, info),
        (observation, reward, terminated, not truncated, info),
        (observation, reward, int(terminated), truncated, info),
        (observation, reward, terminated, truncated, {**info, "more": 1}),
        (observation, reward, terminated, truncated, Info(info)),
        (observation, reward, terminated, truncated, None),
        (observation, reward, terminated, truncated),
        [observation, reward, terminated, truncated, info],
        None,
    ]
    if info:
        key = list(info)[how % len(info)]
        value = info[key]
        less = {name: kept for name, kept in info.items() if name != key}
        others = [value + 1, None, str(value), float("nan"), np.float32(value), [value]]
        others += [int(value)] if type(value) is not int else [float(value), bool(value)]
        wrong += [(observation, reward, terminated, truncated, {**less, key: another}) for another in others]
        wrong.append((observation, reward, terminated, truncated, less))
        wrong.append((observation, reward, terminated, truncated, {**less, "another": value}))
    return wrong[place % len(wrong)]  # type: ignore[return-value]


@given(st.integers(0, FIVE - 1), st.integers(0, 100), st.integers(0, 100), st.booleans())
def test_the_first_step_that_is_not_the_same_ends_it(row: int, place: int, how: int, typed: bool) -> None:
    recording = Recording(types=NUMBERS if typed else None)
    returned = recording.returned()
    returned[row] = unlike(place, how, returned[row])
    assert played(recording.tape(), returned) == row


def test_the_order_in_memory_does_not_count() -> None:
    recording = Recording(gs.Box(0, 255, (4, 5, 3), np.uint8))
    returned = [(np.asfortranarray(step[0]), *step[1:]) for step in recording.returned()]
    returned[1] = (np.repeat(returned[1][0], 2, axis=1)[:, ::2], *returned[1][1:])
    returned[2] = (returned[2][0][::-1].copy()[::-1], *returned[2][1:])
    assert played(recording.tape(), returned) == FIVE
    returned[3][0][3, 4, 2] ^= 1
    assert played(recording.tape(), returned) == 3


def test_bits_count_not_values() -> None:
    recording = Recording()
    recording.array[1, 0], recording.values[1][0] = 0.0, -0.0
    assert played(recording.tape(), recording.returned()) == 1
    payload = np.frombuffer(np.int64(np.float64(np.nan).view(np.int64) + 1).tobytes(), np.float64)[0]
    returned = Recording().returned()
    returned[2] = (returned[2][0], payload, *returned[2][2:])
    assert played(Recording().tape(), returned) == 2


def test_what_is_not_known_is_not_compared() -> None:
    known = np.array([True, False, True, True, True])
    recording = Recording(known=known)
    returned = recording.returned()
    returned[1] = (None, *returned[1][1:])
    assert played(recording.tape(), returned) == FIVE
    returned[3] = (None, *returned[3][1:])
    assert played(recording.tape(), returned) == 3


def test_observations_may_come_some_at_a_time() -> None:
    recording = Recording()
    tape, returned = recording.tape(observations=None), recording.returned()
    assert played(tape, returned) == 0
    tape.observe(recording.array[1:3].copy(), 1)
    assert tape.is_observed(2, returned[2][0]) and not tape.is_observed(1, returned[2][0])
    assert not tape.is_observed(0, returned[0][0]) and not tape.is_observed(3, returned[3][0])
    assert played(tape, returned[1:], row=1) == 2


def test_an_environment_may_write_to_what_it_returned() -> None:
    recording, buffer = Recording(), np.zeros(3, np.float32)
    returned = recording.returned()

    def step(action: int) -> tuple[Any, ...]:
        buffer[:] = returned[action][0]
        return (buffer, *returned[action][1:])

    assert recording.tape().play(step, [0, 1, 2, 3, 4], 0)[0] == FIVE


def test_rows_beyond_the_recording_are_not_the_same() -> None:
    recording = Recording()
    assert played(recording.tape(), recording.returned()[:1], row=FIVE) == 0
    assert played(recording.tape(), recording.returned()[:1], row=sys.maxsize) == 0
    with pytest.raises(ValueError, match="row -1"):
        recording.tape().play(recording.returned().__getitem__, [0], -1)
    with pytest.raises(ValueError, match="row -1"):
        recording.tape().is_observed(-1, recording.values[0])


def test_no_action_takes_no_step() -> None:
    assert Recording().tape().play(None, [], 0) == (0, None)


def test_what_a_step_raises_is_raised_and_the_tape_goes_on() -> None:
    recording = Recording()
    tape, returned = recording.tape(), recording.returned()
    with pytest.raises(IndexError):
        tape.play(returned.__getitem__, [0, 9], 0)
    assert played(tape, returned) == FIVE


def test_a_step_within_a_step_is_refused() -> None:
    recording = Recording()
    tape, returned = recording.tape(), recording.returned()
    for meddles in (lambda: tape.play(returned.__getitem__, [0], 0), lambda: tape.observe(recording.array, 0)):

        def step(action: int, meddles: Any = meddles) -> Any:
            meddles()

        with pytest.raises(RuntimeError, match="playing"):
            tape.play(step, [0], 0)


@pytest.mark.parametrize(
    ("space", "infos"),
    [
        (gs.Dict(a=BOX), infos_of([{}] * FIVE)),
        (gs.Text(3), infos_of([{}] * FIVE)),
        (gs.Box(0, 1, (0,)), infos_of([{}] * FIVE)),
        (BOX, infos_of([{}] * FIVE, text='{"a":1}')),
        (BOX, infos_of([{"a": "b"}] * FIVE, {"a": pa.string()})),
        (BOX, infos_of([{"a": 1.0}] * FIVE, {"a": pa.float32()})),
        (BOX, infos_of([{"clock": 1.0}] * FIVE, {"clock": pa.float64()})),
    ],
)
def test_what_a_tape_does_not_take(space: Any, infos: InfoRows) -> None:
    flags = np.zeros(FIVE, bool)
    assert tapes.tape(SpaceCodec(space), None, None, np.zeros(FIVE), (flags, flags), infos, {"clock"}) is None


def test_columns_that_do_not_fit_are_refused() -> None:
    from rolltape.actors._tape import Tape

    def column(kind: str = "v", size: int = 12, places: int = 1, rows: Any = None, shape: Any = (3,)) -> Any:
        return kind, (None, np.dtype(np.float32), 0, 0, size, shape), np.zeros((2, 3), "f4") if rows is None else rows, None, places

    number = "n", (None, np.dtype(float), 0, 0, 8, ()), np.zeros(2), None, 1
    flag = "b", (None, np.dtype(bool), 0, 0, 1, ()), np.zeros(2, bool), None, 1
    assert isinstance(Tape(compiled_rows.NUMPY, column(), number, flag, flag, ()), Tape)
    wrong: list[Any] = [
        column("x"), column("n"), column("b"), column(size=24), column(places=0), column(places=5),
        column(rows=np.zeros(5, "f4")), column(size=0, shape=(0,)),
    ]  # fmt: skip
    for bad in wrong:
        with pytest.raises(ValueError, match="fit"):
            Tape(compiled_rows.NUMPY, bad, number, flag, flag, ())
    with pytest.raises(TypeError, match="memoryview"):
        Tape(compiled_rows.NUMPY, column(rows=np.zeros((2, 3), "f4").data), number, flag, flag, ())
    with pytest.raises(ValueError, match="whether it has it"):
        Tape(compiled_rows.NUMPY, column(), number, flag, flag, (("key", number),))
    with pytest.raises(TypeError):
        Tape(compiled_rows.NUMPY, column(), number, flag, flag, ((1, number),))  # type: ignore[arg-type]
    with pytest.raises((ValueError, BufferError)):
        Tape(compiled_rows.NUMPY, column(rows=np.zeros((3, 2), "f4").T), number, flag, flag, ())


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_a_batch_is_compared_where_it_is_known(call: int, place: int, what: int, known: bool) -> None:
    rng = np.random.default_rng(1)
    calls, n = 4, 4
    observations, rewards = rng.random((calls, n, 3), np.float32), rng.random((calls, n))
    ends = rng.random((calls, n)) < 0.5, rng.random((calls, n)) < 0.5
    observed, there = np.ones((calls, n), bool), np.ones((calls, n), bool)
    (observed if what == 0 else there)[call, place] = known
    tape = tapes.batch_tape(observations, observed, rewards, ends, there)
    assert tape is not None
    given_ = [np.copy(x) for x in (observations, rewards, *ends)]
    given_[what][call, place] = 1 - given_[what][call, place] if what < 2 else not given_[what][call, place]
    returned: list[Any] = [(*(x[k] for x in given_), {}) for k in range(calls)]
    assert played(tape, returned) == (call if known else calls)


def test_a_real_environment() -> None:
    env = gym.make("CartPole-v1")
    env.reset(seed=4)
    actions = [0, 1, 1, 0, 1, 0, 0, 1]
    seen = [env.step(action) for action in actions]
    ends = np.array([s[2] for s in seen]), np.array([s[3] for s in seen])
    observations, rewards = np.array([s[0] for s in seen]), np.array([s[1] for s in seen], float)
    made = tapes.tape(
        SpaceCodec(env.observation_space), observations, None, rewards, ends, infos_of([{}] * len(seen))
    )
    assert made is not None
    for seed, same in ((4, len(seen)), (5, 0)):
        env.reset(seed=seed)
        assert made.play(env.step, actions, 0)[0] == same


def test_nothing_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    from rolltape.actors._tape import Tape

    recording, made = Recording(types=NUMBERS, known=np.ones(FIVE, bool)), list[Any]()
    monkeypatch.setattr(tapes, "_TAPE", lambda *args: made.append(args) or Tape(*args))
    array, returned = recording.array, recording.returned()
    actions = [1000 + place for place in range(FIVE)]  # beyond the numbers that all of Python shares
    tape = recording.tape()
    returned[4] = None  # type: ignore[call-overload]

    def step(action: int) -> Any:
        return returned[action - 1000]

    def run(times: int) -> None:
        for _ in range(times):
            tape.play(step, actions, 0)
            tape.observe(array, 0)
            with pytest.raises(IndexError):
                tape.play(step, [2000], 0)
            Tape(*made[0])
            with pytest.raises(TypeError):
                Tape(*made[0][:-1], ((1, made[0][2]),))

    run(20)
    columns = [part for column in made[0][1:5] for part in column if isinstance(part, np.ndarray)]
    held = array, *returned[:4], *actions, *columns
    assert_nothing_leaks(lambda: run(300), held, least_grown_bytes=10_000)
