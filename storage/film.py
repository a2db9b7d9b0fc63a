"""Pictures of an episode as a film: GIF by Pillow, anything else (MP4, WebM, MKV) by PyAV. Both are extras."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from rolltape.schema.errors import ConfigError, MissingExtra, SchemaMismatch, StorageError

from .files import FileOps, storage_errors

FPS: Final = 30.0
"""Pictures a second where the environment does not say."""
GIF_STEP_MS: Final = 10
"""A GIF counts in hundredths of a second; viewers take less than two of them for ten."""


def write_film(path: str | os.PathLike[str], pictures: Iterable[np.ndarray], fps: float) -> int:
    """Write pictures to a file that its suffix names: `.gif`, `.mp4`, `.webm`, `.mkv`. Replaces what is there.

    The file appears whole or not at all.

    Args:
        path: the file.
        pictures: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8 each, all of one shape.
        fps: how many are shown a second.

    Returns:
        How many pictures it has.

    Raises:
        MissingExtra: Pillow or PyAV is not installed.
        ConfigError: the suffix is none of those, or fps is not above 0.
        SchemaMismatch: these are no pictures.
        LakeNotWritable, DiskFull, StorageError.
    """
    target = Path(path)
    check_film(target, fps)
    write = WRITERS[target.suffix.lower()]
    with storage_errors(FileOps(), target):
        temporary = target.with_name(f".{target.stem}.partial{target.suffix}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            count = write(temporary, _colours(pictures), fps)
            temporary.replace(target)
        except (FileNotFoundError, FileExistsError) as error:  # a folder that takes no files, a file for a folder
            raise StorageError(f"Cannot write {target}: {error.strerror or error}. Choose another file.") from error
        finally:
            with suppress(OSError):
                temporary.unlink()
    return count


def check_film(path: str | os.PathLike[str], fps: float) -> None:
    """Refuse what cannot become a film, before pictures are drawn. Raises ConfigError, MissingExtra."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise ConfigError(f"video: expected a file that ends in {', '.join(WRITERS)}, got {str(path)!r}.")
    if not 0 < fps < math.inf:
        raise ConfigError(f"video: fps and speed must be above 0 and finite (got {fps:g} pictures a second).")
    module, package = ("PIL", "pillow") if suffix == ".gif" else ("av", "av")
    if importlib.util.find_spec(module) is None:
        raise MissingExtra(f'A {suffix} needs {package}, which is not installed: pip install "rolltape[video]"')


def _gif(path: Path, pictures: Iterable[np.ndarray], fps: float) -> int:
    from PIL import Image

    images = [Image.fromarray(picture).quantize(256) for picture in pictures]
    ms = max(2 * GIF_STEP_MS, round(1000 / fps / GIF_STEP_MS) * GIF_STEP_MS)
    kept = images[:: max(1, round(ms * fps / 1000))]
    kept[0].save(path, save_all=True, append_images=kept[1:], duration=ms, loop=0, optimize=False)
    return len(kept)


def _video(path: Path, pictures: Iterable[np.ndarray], fps: float) -> int:
    import av

    codec = "libvpx-vp9" if path.suffix.lower() == ".webm" else "libx264"
    count = 0
    with av.open(str(path), "w") as container:
        stream: Any = None
        for picture in pictures:
            height, width = picture.shape[:2]
            if stream is None:
                stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000))
                stream.width, stream.height = width + width % 2, height + height % 2  # 4:2:0 halves both
                stream.pix_fmt = "yuv420p"
            padded = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")))
            count += 1
        if stream is not None:
            container.mux(stream.encode())
    return count


WRITERS: Final[dict[str, Callable[[Path, Iterable[np.ndarray], float], int]]] = {
    ".gif": _gif,
    ".mp4": _video,
    ".webm": _video,
    ".mkv": _video,
}


def _colours(pictures: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    """Each as (H, W, 3) of uint8. Raises SchemaMismatch, ConfigError where there are none."""
    source = iter(pictures)
    first = next(source, None)
    if first is None:
        raise ConfigError("video: there are no pictures in that range.")
    for picture in chain([first], source):
        if picture.ndim == 2:
            picture = picture[:, :, np.newaxis]
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3, 4):
            found = f"{picture.dtype}{list(picture.shape)}"
            raise SchemaMismatch(f"video: expected pictures of uint8 with 1, 3 or 4 channels last, found {found}.")
        yield np.ascontiguousarray(np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture[:, :, :3])
