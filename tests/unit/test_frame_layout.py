import gymnasium as gym
import numpy as np
import pytest

from rolltape.schema.errors import CorruptRecording, UnsupportedSpace
from rolltape.schema.frame_layout import FrameLayout, is_image_space, picture_layout, stored_layout


def box(*shape: int, dtype: type = np.uint8) -> gym.spaces.Box:
    return gym.spaces.Box(0, 255, shape, dtype)


@pytest.mark.parametrize(
    ("space", "image"),
    [
        (box(210, 160, 3), True),
        (box(84, 84), True),
        (box(84, 84, 4), True),
        (box(4, 84, 84), True),
        (box(84, 84, 1), True),
        (box(7, 7, 3), False),
        (box(16), False),
        (box(1000, 2, 20), False),
        (box(2, 84, 84, 3), False),
        (box(84, 84, 3, dtype=np.float32), False),
        (gym.spaces.Discrete(4), False),
    ],
)
def test_what_counts_as_a_picture(space: gym.Space, image: bool) -> None:
    assert is_image_space(space) is image
    if not image:
        with pytest.raises(UnsupportedSpace):
            stored_layout(space)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((210, 160, 3), "uint8[210,160,3]"),
        ((84, 84), "uint8[84,84]"),
        ((84, 84, 1), "uint8[84,84,1]"),
        ((4, 84, 84), "uint8[4,84,84]"),
        ((84, 84, 4), "uint8[4,84,84]"),
        ((84, 96, 16), "uint8[16,84,96]"),
        ((84, 84, 17), "uint8[84,84,17]"),
    ],
)
def test_stacks_are_stored_planar_and_come_back(shape: tuple[int, ...], text: str) -> None:
    layout = stored_layout(box(*shape))
    assert layout.format == text
    batch = np.random.default_rng(0).integers(0, 255, (5, *shape), dtype=np.uint8)
    stored = layout.to_stored(batch)
    assert stored.flags.c_contiguous and stored.shape == (5, *layout.stored_shape)
    again = FrameLayout.parse(layout.format, layout.describe())
    assert again == layout
    np.testing.assert_array_equal(again.from_stored(stored), batch)
    np.testing.assert_array_equal(again.from_stored(stored[2]), batch[2])


def test_a_picture_that_needs_no_move_is_not_copied() -> None:
    batch = np.zeros((3, 210, 160, 3), np.uint8)
    assert picture_layout("uint8", (210, 160, 3)).to_stored(batch) is batch


def test_nonsense_formats_are_refused() -> None:
    for text in ("uint8", "uint8[]", "uint8[4,84,84", "[3]"):
        with pytest.raises(CorruptRecording, match="not a frame format"):
            FrameLayout.parse(text)
    with pytest.raises(CorruptRecording, match=r"run\.json says"):
        FrameLayout.parse("uint8[84,84,4]", {"stored": "planar", "shape": [84, 84, 4]})
