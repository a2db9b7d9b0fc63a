"""Arrow types in DuckDB's words, so that a scan can be told what columns to expect."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

_SCALARS: Final[dict[pa.DataType, str]] = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float16(): "FLOAT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.large_string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.large_binary(): "BLOB",
    pa.date32(): "DATE",
}


def sql_type(kind: pa.DataType) -> str:
    """The DuckDB type that a Parquet column written from this Arrow type is best read as.

    Fixed-size lists become arrays (`FLOAT[4]`), which Parquet itself does not know.

    Raises:
        KeyError: it cannot be said in SQL: a type that no table of ours has, or a struct with members whose names
            differ by case only, are empty, or hold a NUL.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return sql_type(kind.storage_type)
    if isinstance(kind, pa.DictionaryType):
        return sql_type(kind.value_type)
    if isinstance(kind, pa.FixedSizeListType) and kind.list_size > 0:
        return f"{sql_type(kind.value_type)}[{kind.list_size}]"
    if isinstance(kind, pa.FixedSizeListType | pa.ListType | pa.LargeListType):
        return f"{sql_type(kind.value_type)}[]"
    if isinstance(kind, pa.StructType):
        members = [kind.field(i) for i in range(kind.num_fields)]
        unsayable = any(not member.name or "\0" in member.name for member in members)
        if unsayable or len({member.name.lower() for member in members}) < len(members):
            raise KeyError(kind)
        return f"STRUCT({', '.join(f'{quote_name(m.name)} {sql_type(m.type)}' for m in members)})"
    if isinstance(kind, pa.MapType):
        return f"MAP({sql_type(kind.key_type)}, {sql_type(kind.item_type)})"
    if isinstance(kind, pa.TimestampType):
        return "TIMESTAMPTZ" if kind.tz else "TIMESTAMP"
    if isinstance(kind, pa.FixedSizeBinaryType):
        return "BLOB"
    return _SCALARS[kind]


def quote_name(name: str) -> str:
    """A column name as SQL takes it, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("'", "''") + "'"
