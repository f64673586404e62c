"""docs/dataset.md: the data dictionary for readers, made from the declarations.

    python -m reports.documentation docs/dataset.md

rewrites what stands below the marker in that file; a test keeps the two equal.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from reports.columns import Column, PublishedTable
from reports.dictionary import TABLES
from reports.statistics import statements

MARKER = "<!-- made by reports.documentation; do not edit below -->\n"


def generated() -> str:
    """Everything below the marker: the tables, then the statistics."""
    lines = ["", "## Tables", ""]
    for table in TABLES:
        lines += _table(table)
    lines += [
        "## Statistics",
        "",
        "| file in `reports/statistics/` | what it counts |",
        "|---|---|",
    ]
    for name, sql in statements():
        comment = re.match(r"(?:--.*\n)*", sql)
        said = " ".join(comment.group().replace("--", " ").split()) if comment else ""
        lines.append(f"| `{name}` | {_cell(said)} |")
    return "\n".join(lines) + "\n"


def _table(table: PublishedTable) -> Iterator[str]:
    yield from (f"### `{table.path}`", "", table.description, "")
    yield f"Key: {', '.join(f'`{part}`' for part in table.key)}; rows are in its order."
    yield from ("", "| column | type | null | meaning |", "|---|---|---|---|")
    for column in table.columns:
        null = "" if column.required else "yes"
        yield f"| `{column.name}` | {_type(column.type)} | {null} | {_meaning(column)} |"
    yield ""


def _type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list of {kind.value_type}"
    return "time (µs, UTC)" if pa.types.is_timestamp(kind) else str(kind)


def _meaning(column: Column) -> str:
    words = " ".join(f"`{word}`" for word in column.words if word)
    return _cell(column.description) + (f" One of: {words}." if words else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    path = Path(sys.argv[1])
    head, marker, _ = path.read_text("utf-8").partition(MARKER)
    if not marker:
        sys.exit(f"{path} has no line {MARKER.strip()}")
    path.write_text(head + MARKER + generated(), "utf-8")


if __name__ == "__main__":
    main()
