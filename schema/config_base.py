"""What every model of the configuration is made of: frozen values, each with a unit and what a risky one costs.

Rules:
1. A field has a unit where it is a number, a range, a default, and a docstring that gives the reason for the default.
2. A range is a hard limit: outside of it nothing works, so that it is an error. A risk is allowed and warned about.
3. Unit and risk are declared once, beside the type; JSON Schema, docs, forms and messages are made from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from .config_docstrings import docstrings_of

MIB = 1 << 20
GIB = 1 << 30


class Frozen(BaseModel):
    """Base of all models of the configuration: no unknown key, no change after it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        schema = handler(core_schema)
        fields = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in docstrings_of(cls).items():
            if name in fields:
                fields[name].setdefault("description", text)
        return schema

    @classmethod
    def expand(cls, value: Any) -> Any:
        """What a short form stands for, as a dict: `"render"` for `{"policy": "render"}`. Anything else unchanged."""
        return value


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a number, such as `bytes`, `s`, `rows`, `1/s`."""

    name: str

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {**handler(schema), "unit": self.name}


@dataclass(frozen=True, slots=True)
class Risk:
    """A value that is allowed and costs something.

    Args:
        cost: what it costs, as the end of a sentence: `each commit costs 14 kB on disk`.
        below, above: risky on that side, exclusive; None: never on that side.
        equal: risky exactly at this value.
    """

    cost: str
    below: float | None = None
    above: float | None = None
    equal: Any = None

    def applies(self, value: Any) -> bool:
        """Whether `value` is risky."""
        if self.equal is not None:
            return value == self.equal
        if not isinstance(value, int | float):
            return False
        return (self.below is not None and value < self.below) or (self.above is not None and value > self.above)

    @property
    def bounds(self) -> str:
        """Where it begins: `below 0.1`."""
        if self.equal is not None:
            return f"{self.equal!r}"
        sides = (("below", self.below), ("above", self.above))
        return " or ".join(f"{name} {_number(bound)}" for name, bound in sides if bound is not None)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        said = handler(schema)
        return {**said, "risks": [*said.get("risks", []), {"when": self.bounds, "cost": self.cost}]}


@dataclass(frozen=True, slots=True)
class Setting:
    """One leaf of the configuration tree.

    Attributes:
        path: `durable.commit.max_age_s`.
        field: what pydantic knows of it; its docstring is read when it is asked for.
        owner: the model that it is a field of.
    """

    path: str
    field: FieldInfo
    owner: type[Frozen]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def unit(self) -> str:
        """Its unit; empty where it has none."""
        return next((mark.name for mark in self.field.metadata if isinstance(mark, Unit)), "")

    @property
    def risks(self) -> list[Risk]:
        """What some of its values cost."""
        return [mark for mark in self.field.metadata if isinstance(mark, Risk)]

    def risk_of(self, value: Any) -> Risk | None:
        """What `value` costs; None for a value without a risk. A default has none."""
        if value == self.default:
            return None
        return next((risk for risk in self.risks if risk.applies(value)), None)

    @property
    def default(self) -> Any:
        """The class default."""
        return self.field.get_default(call_default_factory=True)

    @property
    def reason(self) -> str:
        """Its docstring on one line."""
        return " ".join((self.field.description or docstrings_of(self.owner).get(self.name, "")).split())

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a Literal; empty for other types."""
        return _choices(self.field.annotation)

    @property
    def allowed(self) -> str:
        """What may be given, with the unit: `≥ 0.01 and ≤ 60 s`, `'machine' or 'process'`."""
        if self.choices:
            return " or ".join(repr(choice) for choice in self.choices)
        limits = [f"{sign} {_number(bound)}" for mark in self.field.metadata for sign, bound in _bounds(mark)]
        optional = " or nothing" if type(None) in get_args(self.field.annotation) else ""
        kind = _kind(self.field.annotation)
        return " ".join(part for part in (kind, " and ".join(limits), self.unit) if part) + optional


def settings_of(model: type[Frozen], path: str = "") -> Iterator[Setting]:
    """Every leaf of a tree, in the order of the source."""
    for name, field in model.model_fields.items():
        inner = section_of(field)
        if inner is not None:
            yield from settings_of(inner, f"{path}{name}.")
        else:
            yield Setting(f"{path}{name}", field, model)


def section_of(field: FieldInfo) -> type[Frozen] | None:
    """The model of a field that is a section; None for a leaf."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Frozen) else None


def _choices(annotation: Any) -> tuple[Any, ...]:
    if "Literal" in str(get_origin(annotation)):
        return get_args(annotation)
    return tuple(choice for inner in get_args(annotation) for choice in _choices(inner))


def _bounds(mark: Any) -> Iterator[tuple[str, Any]]:
    for attribute, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
        if getattr(mark, attribute, None) is not None:
            yield sign, getattr(mark, attribute)


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is tuple:
        return "a list"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    for kind in (annotation, *get_args(annotation)):
        if kind in names:
            return names[kind]
    return "a path" if "Path" in str(annotation) else "a table"
