"""A single figure that is no comparison of two loops: its value, unit and how it was got."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        name: unique, by which targets name it, such as `bytes.Breakout`.
        title: what a person reads.
        value: in `unit`.
        detail: the circumstances: how many, over what.
    """

    name: str
    title: str
    value: float
    unit: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FigureOrder:
    """What a group of figures gets.

    Attributes:
        folder: an empty folder.
        quick: a smoke run: everything a hundredth as large.
    """

    folder: str
    quick: bool = False
