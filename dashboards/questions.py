"""What a viewer may ask: every parameter with its type and range, checked before anything is looked up.

No text of a viewer becomes SQL or a path: columns are chosen from a list, values are bound, run ids have one form.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request

RunId = Annotated[str, StringConstraints(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
Number = Annotated[int, Field(ge=0, lt=2**62)]
Real = Annotated[float, Field(allow_inf_nan=False)]
Words = Annotated[str, StringConstraints(max_length=200)]
Direction = Literal["asc", "desc"]
FrameKind = Literal["observation", "render"]

EpisodeColumn = Literal[
    "episode", "sub_env", "length", "return", "status", "terminated", "truncated", "seed", "start_time", "end_time"
]


class Question(BaseModel):
    """Base of all: unknown parameters are refused, because a misspelt filter would show the wrong rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OfRun(Question):
    """Which run."""

    run: RunId


class OfEpisode(OfRun):
    """Which episode of which run."""

    episode: Number


class Page(OfRun):
    """Some rows of a table."""

    offset: Number = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class EpisodesPage(Page):
    """Episodes by what they are."""

    sort: EpisodeColumn = "episode"
    order: Direction = "asc"
    status: Literal["completed", "aborted", "lost"] | None = None
    ended: Literal["terminated", "truncated"] | None = None
    sub_env: Number | None = None
    episode: Number | None = None
    min_return: Real | None = None
    max_return: Real | None = None
    min_length: Number | None = None
    max_length: Number | None = None

    def conditions(self) -> tuple[list[str], list[object]]:
        """SQL conditions with `?`, and their values."""
        wanted = (
            ("status = ?", self.status),
            ("sub_env = ?", self.sub_env),
            ("episode = ?", self.episode),
            ('"return" >= ?', self.min_return),
            ('"return" <= ?', self.max_return),
            ("length >= ?", self.min_length),
            ("length <= ?", self.max_length),
        )
        conditions = [text for text, value in wanted if value is not None]
        if self.ended is not None:
            conditions.append(self.ended)
        return conditions, [value for _, value in wanted if value is not None]


class Returns(OfRun):
    """The returns of a run's episodes over time."""

    points: Annotated[int, Field(ge=2, le=2000)] = 400
    bins: Annotated[int, Field(ge=2, le=100)] = 30


class StepsPage(OfEpisode):
    """Steps of an episode as a table."""

    first: Number = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class Series(OfEpisode):
    """Numbers of an episode's steps as lines."""

    points: Annotated[int, Field(ge=16, le=4000)] = 1000


class Pictures(OfEpisode):
    """Pictures of an episode, a block of them."""

    first: Number = 0
    count: Annotated[int, Field(ge=1, le=64)] = 16
    every: Annotated[int, Field(ge=1, le=64)] = 1
    kind: FrameKind | None = None


class OnePicture(OfEpisode):
    """One picture."""

    t: Number
    nearest: bool = False
    kind: FrameKind | None = None


class Payloads(OfEpisode):
    """What stands for the look of an episode before some steps."""

    first: Number = 0
    count: Annotated[int, Field(ge=1, le=64)] = 16


class OfKind(OfEpisode):
    """Which pictures of an episode."""

    kind: FrameKind | None = None


class Metrics(OfRun):
    """Samples of a run's processes as lines."""

    points: Annotated[int, Field(ge=16, le=2000)] = 400


class LogsPage(Page):
    """Log records by what they are."""

    level: Words | None = None
    component: Words | None = None
    code: Words | None = None
    origin: Words | None = None
    text: Words | None = None


Q = TypeVar("Q", bound=Question)


def question(kind: type[Q], request: Request) -> Q:
    """What is asked, from the path and the query. Raises pydantic.ValidationError."""
    return kind.model_validate({**request.query_params, **request.path_params})
