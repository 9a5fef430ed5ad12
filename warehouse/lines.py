"""The lines of sources that current products were made of: met again, they are not read again.

What is remembered is a line's digest and the form of a product (`seq`) that it gave. A line is known while that form is
current; so whatever changes a product by another way makes its line unknown, and nothing has to be kept in step.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from catalogs.known_lines import KnownLines, line_key
from catalogs.spec import CatalogSpec
from core.errors import NotShared
from warehouse.engine import copied, engine, one
from warehouse.runs import Run
from warehouse.statements import quoted, statement


def known_lines(run: Run, spec: CatalogSpec) -> KnownLines:
    """The lines that the run need not read, as a file in its staging folder."""
    path = None
    if run.files("lines") and run.files("state"):
        with engine(run) as connection:
            found = connection.execute("SELECT line_a, line_b FROM lines SEMI JOIN state USING (seq)").pl()
        if found.height:
            path = run.staging / "known-lines.npy"
            KnownLines.write(path, found)
    return KnownLines(None if path is None else str(path.absolute()), line_key(spec), first=True)


def meet(connection: duckdb.DuckDBPyConnection, staged: list[Path]) -> None:
    """Make the table `met`: the products (product_id, seq, in order n) of the known lines that were staged.

    Raises:
        NotShared: one of them is not known here.
    """
    files = ", ".join(quoted(str(file)) for file in staged)
    rows = f"read_parquet([{files}])" if staged else "(SELECT NULL::BIGINT AS n, * FROM lines WHERE false)"
    connection.execute(
        f"CREATE TABLE met AS SELECT rows.n, state.product_id, state.seq FROM {rows} AS rows "
        "JOIN lines USING (line_a, line_b) JOIN state ON state.seq = lines.seq"
    )
    given, found = one(connection, f"SELECT count(*) FROM {rows}"), one(connection, "SELECT count(*) FROM met")
    if given != found:
        raise NotShared(
            f"workers took {given:,} lines for known, and {found:,} are",
            where=", ".join(str(file.parent) for file in staged[:1]),
            hint="another run must not write into the same home; run it again",
        )


def remember(run: Run, connection: duckdb.DuckDBPyConnection) -> None:
    """Remember the lines of the rows that won, where that is news. `state` is still as the run found it."""
    connection.execute(statement("new_lines"))
    if one(connection, "SELECT count(*) FROM new_lines"):
        run.overwrite("lines", copied(run, connection, statement("lines")))
