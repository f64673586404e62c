"""What a published table and a column are: Arrow for the files, Frictionless for the manifest."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import pyarrow as pa

from storage.schemas import Table


class Access(StrEnum):
    """Who may have a table."""

    PUBLIC = "public"
    RESTRICTED = "restricted"


@dataclass(frozen=True, slots=True)
class Column:
    """One published column."""

    name: str
    type: pa.DataType
    description: str
    required: bool = True
    words: tuple[str, ...] = ()  # the closed vocabulary of the column or of its items
    blank: bool = False  # null in the files stands for '' in the SQL, which joins by it

    @property
    def field(self) -> "pa.Field[Any]":
        return pa.field(self.name, self.type, nullable=not self.required)

    def frictionless(self) -> dict[str, Any]:
        """The column as a field descriptor of a Frictionless Table Schema."""
        kind = _frictionless_type(self.type)
        if kind == "integer" and not self.required:
            kind = "number"  # likewise: an integer that may be null is a float of pandas
        descriptor: dict[str, Any] = {
            "name": self.name,
            "type": kind,
            "description": self.description,
        }
        if pa.types.is_list(self.type):
            # Frictionless reads Parquet through pandas, where a list is no list of Python: `any`
            descriptor["arrayItem"] = {"type": _frictionless_type(self.type.value_type)}
        constraints: dict[str, Any] = {"required": True} if self.required else {}
        if self.words and pa.types.is_list(self.type):
            descriptor["arrayItem"]["constraints"] = {"enum": list(self.words)}
        elif self.words:
            constraints["enum"] = list(self.words)
        if constraints:
            descriptor["constraints"] = constraints
        return descriptor


class Partitioned(Protocol):
    """What a table's partition is made of."""

    @property
    def month(self) -> str: ...

    def partition(self) -> str: ...


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """One table of the data set; `key` is unique and is the order of its rows."""

    name: str
    access: Access
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    by_year: bool = False  # one file a year with all runs of it, instead of one directory a run

    def partition(self, run: "Partitioned") -> str:
        """Where the rows of a run are, below the table's directory."""
        return f"year={run.month[:4]}" if self.by_year else run.partition()

    @property
    def blanks(self) -> tuple[str, ...]:
        """The columns whose null stands for ''."""
        return tuple(column.name for column in self.columns if column.blank)

    @property
    def path(self) -> str:
        """`access/name`: its directory in the data set."""
        return f"{self.access}/{self.name}"

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([column.field for column in self.columns])

    def frictionless(self) -> dict[str, Any]:
        """The Frictionless Table Schema."""
        return {
            "fields": [column.frictionless() for column in self.columns],
            "primaryKey": list(self.key),
        }


def _frictionless_type(kind: pa.DataType) -> str:
    tests = (
        (pa.types.is_boolean, "boolean"),
        (pa.types.is_integer, "integer"),
        (pa.types.is_floating, "number"),
        (pa.types.is_timestamp, "datetime"),
        (pa.types.is_date, "date"),
        (pa.types.is_list, "any"),
        (pa.types.is_struct, "object"),
        (pa.types.is_binary, "any"),
    )
    return next((name for test, name in tests if test(kind)), "string")


def column_of(
    table: Table,
    column: str,
    description: str,
    *,
    name: str | None = None,
    words: type[StrEnum] | tuple[str, ...] = (),
) -> Column:
    """The column of a run table, published under its own or another name."""
    declared = table.schema.field(column)
    vocabulary = words if isinstance(words, tuple) else tuple(map(str, words))
    return Column(name or column, declared.type, description, not declared.nullable, vocabulary)
