"""A query over a lake that has not run yet: verbs make longer ones, outputs run it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from rolltape.schema.errors import MissingExtra

from .arrays import column_to_numpy, column_to_python, rows_to_python

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars

    from .queries import Engine

T = TypeVar("T")

BATCH_ROWS = 65_536
"""Rows of a record batch when a relation is iterated."""


@dataclass(frozen=True, slots=True)
class Select:
    """One SELECT: its source and the clauses put on it so far, each None or empty where absent.

    `source` renders the text to select from at the moment of running, because the list of parts may have grown.
    """

    source: Callable[[], str]
    columns: str = ""
    where: tuple[str, ...] = ()
    order: str = ""
    limit: str = ""

    def text(self) -> str:
        """The statement as of now."""
        source = self.source()
        if not (self.columns or self.where or self.order or self.limit):
            return source
        clauses = [f"SELECT {self.columns or '*'}", f"FROM (\n{source}\n) AS _"]
        if self.where:
            clauses.append("WHERE " + " AND ".join(f"({condition}\n)" for condition in self.where))
        if self.order:
            clauses.append(f"ORDER BY {self.order}")
        if self.limit:
            clauses.append(self.limit)
        return "\n".join(clauses)

    def nested(self) -> Select:
        """The same rows as the source of an outer SELECT."""
        return Select(self.text)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Relation:
    """Rows of a lake, read when asked for: each output runs the query again and sees what is there then.

    Verbs (`filter`, `select`, `order`, `limit`) take SQL text, return a new relation and read nothing; conditions and
    columns reach the Parquet scan. Outputs are `to_arrow`, `df`, `pl`, `numpy`, `torch`, `fetchall`, `to_dicts`,
    `batches` (or iteration), and `len`.

    Attributes:
        engine: what runs the query.
        query: the statement.
        fields: gives the Arrow fields that columns of that name get back, with the type and metadata that SQL does
            not keep.
        params: values for `?` in the text.
    """

    engine: Engine
    query: Select
    fields: Callable[[], Mapping[str, pa.Field]] = dict
    params: tuple[Any, ...] = ()

    # ---- verbs ----------------------------------------------------------------------------------------------------

    def filter(self, condition: str) -> Relation:
        """Only rows for which the SQL condition holds, as in `filter("return > 100 and length < 500")`."""
        query = self.query.nested() if self.query.limit or self.query.columns else self.query
        return replace(self, query=replace(query, where=(*query.where, condition)))

    def select(self, *columns: str) -> Relation:
        """Only these columns, each a name or an SQL expression with a name: `select("t", "reward * 2 as double")`."""
        query = self.query.nested() if self.query.columns else self.query
        return replace(self, query=replace(query, columns=", ".join(columns) or "*"))

    def order(self, *by: str) -> Relation:
        """Sorted, each a column or expression with an optional `desc`: `order("return desc", "episode")`."""
        query = self.query.nested() if self.query.limit or self.query.order else self.query
        return replace(self, query=replace(query, order=", ".join(by)))

    def limit(self, rows: int, offset: int = 0) -> Relation:
        """At most `rows` rows, after leaving out the first `offset`."""
        query = self.query.nested() if self.query.limit else self.query
        return replace(self, query=replace(query, limit=f"LIMIT {int(rows)} OFFSET {int(offset)}"))

    # ---- what it is -----------------------------------------------------------------------------------------------

    @property
    def sql(self) -> str:
        """The statement that would run now."""
        return self.query.text()

    @property
    def schema(self) -> pa.Schema:
        """Names and Arrow types of the columns; reads no rows."""
        return self.limit(0).to_arrow().schema

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._run(lambda relation: list(relation.columns))

    def explain(self) -> str:
        """DuckDB's plan, which shows what reaches the scan."""
        return self._run(lambda relation: relation.explain() or "")

    def __len__(self) -> int:
        query = replace(self.query, order="") if not self.query.limit else self.query
        counted = Select(query.text, columns="count(*)")
        return replace(self, query=counted, fields=dict).fetchall()[0][0]

    def __bool__(self) -> bool:
        return True  # an unread query is something; `len(relation)` asks whether it has rows

    # ---- outputs --------------------------------------------------------------------------------------------------

    def to_arrow(self) -> pa.Table:
        """All rows as an Arrow table."""
        return self._restore(self._run(lambda relation: relation.to_arrow_table()))

    def df(self) -> pandas.DataFrame:
        """All rows as a pandas data frame."""
        _need("pandas", "df()")
        return self._run(lambda relation: relation.df())

    def pl(self) -> polars.DataFrame:
        """All rows as a polars data frame."""
        frames = _need("polars", "pl()")
        return frames.from_arrow(self._run(lambda relation: relation.to_arrow_table()))

    def numpy(self) -> dict[str, np.ndarray]:
        """All rows as one array a column; arrays of one shape as (rows, *shape), other lists as objects."""
        table = self.to_arrow()
        return {field.name: column_to_numpy(table.column(field.name), field) for field in table.schema}

    def torch(self) -> dict[str, Any]:
        """All numeric columns as tensors on the CPU; columns that no tensor can hold (text, nested) are left out."""
        module = _need("torch", "torch()")
        arrays = {k: v for k, v in self.numpy().items() if v.dtype.kind in "biuf"}
        return {k: module.from_numpy(np.require(v, requirements=["C", "W"])) for k, v in arrays.items()}

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows as tuples of Python values."""
        # By way of Arrow: DuckDB itself needs another package to make a Python time with a zone.
        table = self._run(lambda relation: relation.to_arrow_table())
        return list(zip(*(column_to_python(column) for column in table.columns), strict=True))

    def to_dicts(self) -> list[dict[str, Any]]:
        """All rows as dicts of Python values."""
        return rows_to_python(self._run(lambda relation: relation.to_arrow_table()))

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The rows as record batches of at most `rows`, read while they are taken: memory stays bounded."""
        for batch in self._run(lambda relation: relation.to_arrow_reader(rows)):
            yield from self._restore(pa.Table.from_batches([batch])).to_batches()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self.batches()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows for any library that takes Arrow streams (polars, pandas, DuckDB, nanoarrow)."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    # ---- how it looks ---------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return self._run(repr)

    def _repr_html_(self) -> str:
        return self._run(lambda relation: relation._repr_mimebundle_()["text/html"])

    # ---- running --------------------------------------------------------------------------------------------------

    def _run(self, read: Callable[[duckdb.DuckDBPyRelation], T]) -> T:
        return self.engine.run(self.query.text, self.params, read)

    def _restore(self, table: pa.Table) -> pa.Table:
        """Give columns that came through unchanged the Arrow type that they were stored with."""
        fields = self.fields()
        for index, name in enumerate(table.column_names):
            wanted, column = fields.get(name), table.column(index)
            if wanted is None:
                continue
            if isinstance(wanted.type, pa.BaseExtensionType) and column.type == wanted.type.storage_type:
                chunks = [pa.ExtensionArray.from_storage(wanted.type, chunk) for chunk in column.chunks]
                column = pa.chunked_array(chunks, wanted.type)
            elif pa.types.is_nested(column.type) and column.type.id == wanted.type.id:
                column = column.cast(wanted.type)  # names and nullability of members
            if column.type == wanted.type:
                table = table.set_column(index, pa.field(name, wanted.type, metadata=wanted.metadata), column)
        return table


def _need(module: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtra(f"{what} needs {module}, which is not installed: pip install {module}") from None
