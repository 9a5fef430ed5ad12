"""From staged rows to stored products: repeated ids, unchanged rows, conflicts, vanished ids, and the run's counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from catalogs.digests import with_row_hash
from catalogs.known_lines import LINE_DIGEST, LINES
from catalogs.spec import CatalogSpec
from core.errors import SourceEmpty, SourceShrunk, SpecInvalid
from warehouse import tables
from warehouse.columns import COLUMNS, TIME
from warehouse.engine import copied, engine, new_file, one, refuse_if_unseen
from warehouse.home import beside
from warehouse.lines import meet, remember
from warehouse.runs import Run
from warehouse.statements import column, quoted, statement

ORDER_STEP = 1 << 40
"""Rows of file i are ordered at i * ORDER_STEP + line: files in order, lines in order, no two rows alike."""

_STAGED: dict[str, Any] = {"compression": "uncompressed", "statistics": False, "row_group_size": 50_000}
"""How batches are staged. They are read again at once, and deleted: packing them would cost more than it saves."""

STORED_BYTES = 128 << 20
"""Products of about so many bytes in memory are stored as one file: so much and a batch is held."""

_MET_LABELS = "SELECT met.product_id, state.known_path, met.n FROM met JOIN state ON state.seq = met.seq"

_EMPTY_VANISHED = "CREATE TABLE vanished AS SELECT product_id, seq FROM state WHERE false"


@dataclass(frozen=True)
class Staged:
    """What reading one file left in the run's staging folder.

    Attributes:
        file: its name.
        read: rows in it.
        rejected: those of them that are no product.
        warnings: rows to warn of, by the warning's name.
        has_label: whether it has a label column; where it has none, it says nothing about labels.
        known: rows whose lines were stored before and were not read again.
    """

    file: str
    read: int
    rejected: int
    warnings: dict[str, int]
    has_label: bool = True
    known: int = 0


class Stage:
    """Writes decided batches of one file into a run's staging folder. Done again, each takes its own place again."""

    def __init__(self, folder: Path, file_no: int) -> None:
        self._folder = folder
        self._file_no = file_no
        self._batch = 0
        folder.mkdir(parents=True, exist_ok=True)

    def write(
        self,
        good: pl.DataFrame,
        rejects: pl.DataFrame,
        remembered: pl.DataFrame | None = None,
        known: pl.DataFrame | None = None,
    ) -> None:
        """Stage one batch.

        Args:
            good: products.
            rejects: rows that are none, and the product_id of those that have one.
            remembered: LINES by which products of this batch are to be known again.
            known: LINES that are known.
        """
        self._batch += 1
        name = f"{self._file_no:05d}-{self._batch:06d}.parquet"
        order = (pl.lit(self._file_no * ORDER_STEP, dtype=pl.Int64) + pl.col("source_row")).alias("n")
        if good.height:
            lines = pl.DataFrame(schema=LINES) if remembered is None else remembered
            with beside(self._folder / f"good-{name}") as out:
                rows = good.with_columns(order).join(lines, on="source_row", how="left", maintain_order="left")
                rows.write_parquet(out, **_STAGED)
        if known is not None and known.height:
            with beside(self._folder / f"known-{name}") as out:
                known.with_columns(order).write_parquet(out, **_STAGED)
        if rejects.height:
            with beside(self._folder / f"rejects-{name}") as out:
                rejects.write_parquet(out, compression="zstd")

    @staticmethod
    def rejects_of(file: str, unreadable: pl.DataFrame, refused: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
        """Rows that could not be read or that the rules refused, in the source's order, with the ids of `products`."""
        columns = ["source_file", "source_row", "raw", "reasons"]
        both = [unreadable.with_columns(pl.lit(file).alias("source_file")).select(columns), refused.select(columns)]
        rows = pl.concat(both).sort("source_row")
        # The join would look at every product for a few rejects.
        ids = products.select("source_row", "product_id").filter(
            pl.col("source_row").is_in(rows["source_row"].implode())
        )
        return rows.join(ids, on="source_row", how="left", maintain_order="left")


def staged_folder(run: Run) -> Path:
    """Where a run's batches are staged."""
    return run.staging / "rows"


def store(run: Run, spec: CatalogSpec, staged: list[Staged]) -> None:
    """Commit everything staged, and set the run's counts.

    Raises:
        SourceEmpty: not a single row was read.
        SourceShrunk: a snapshot misses more of the stored products than `max_vanished` allows.
        NotShared: rows that were staged are not to be seen here.
    """
    folder = staged_folder(run)
    run.counts["read"] = sum(part.read for part in staged)
    run.counts["rejected"] = sum(part.rejected for part in staged)
    if not run.counts["read"]:
        raise SourceEmpty("has no rows", where=", ".join(run.source), hint="check that the right file was named")
    with engine(run) as connection:
        run.counts["known"] = sum(part.known for part in staged)
        rejected, known = run.counts["rejected"], run.counts["known"]
        told = {"good": run.counts["read"] - rejected - known, "rejects": rejected, "known": known}
        for kind, rows in told.items():
            refuse_if_unseen(connection, folder, kind, rows)
        meet(connection, sorted(folder.glob("known-*.parquet")))
        labelled: list[Path] = []
        for file_no, part in enumerate(staged):
            batches = sorted(folder.glob(f"good-{file_no:05d}-*.parquet"))
            if part.has_label:
                labelled += batches
            elif batches:
                _keep_known_labels(spec, connection, batches, labelled)
        _resolve(run, spec, connection, folder)
        if spec.load == "snapshot":
            _refuse_if_shrunk(run, spec, connection)
        _commit(run, spec, connection, folder, [part.file for part in staged])
    _commit_rejects(run, folder)


def _keep_known_labels(
    spec: CatalogSpec, connection: duckdb.DuckDBPyConnection, batches: list[Path], labelled: list[Path]
) -> None:
    """Give the products of a file without a label column the labels that are known of them: it takes none back.

    Args:
        spec: the catalogue's.
        connection: the run's engine.
        batches: what the file staged.
        labelled: what the files before it that have a label column staged. The last of their rows of an id says its
            label, or that it has none; the stored label counts for ids that they do not have. That is what ingesting
            the files one after another gives.
    """
    # A path that is null must win too, and arg_max passes over nulls: hence the struct.
    told = "SELECT product_id, known_path FROM state WHERE false"
    if labelled:
        told = (
            "SELECT product_id, arg_max(struct_pack(path := known_path), n).path AS known_path "
            f"FROM (SELECT product_id, known_path, n FROM {_parquet(labelled)} UNION ALL {_MET_LABELS}) AS earlier "
            f"SEMI JOIN asked USING (product_id) WHERE n < (SELECT min(n) FROM {_parquet(batches)}) GROUP BY product_id"
        )
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE known AS
        WITH asked AS MATERIALIZED (SELECT DISTINCT product_id FROM {_parquet(batches)}), told AS MATERIALIZED ({told})
        FROM told WHERE known_path IS NOT NULL
        UNION ALL
        SELECT product_id, known_path
        FROM state SEMI JOIN asked USING (product_id) ANTI JOIN told USING (product_id)
        WHERE known_path IS NOT NULL
    """)
    for batch in batches:
        known = connection.execute(f"FROM known SEMI JOIN {_parquet([batch])} AS staged USING (product_id)").pl()
        if known.height:
            rows = pl.read_parquet(batch)
            given = rows.drop("known_path").join(known, on="product_id").select(rows.columns)
            given = given.with_columns(pl.lit(None, pl.Int64).alias(name) for name in LINE_DIGEST)  # not the line's own
            others = rows.join(known, on="product_id", how="anti")
            # By another name: DuckDB takes a file of the same path, size and second for the one that it has read.
            with beside(batch.with_name(f"{batch.stem}-labelled.parquet")) as out:
                pl.concat([with_row_hash(given, spec), others]).sort("n").write_parquet(out, **_STAGED)
            batch.unlink()


def _parquet(files: list[Path]) -> str:
    """SQL that reads those files. The largest stands first: DuckDB takes the others to have as many rows."""
    files = sorted(files, key=lambda file: -file.stat().st_size)
    return f"read_parquet([{', '.join(quoted(str(file)) for file in files)}])"


def _resolve(run: Run, spec: CatalogSpec, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    good = sorted(folder.glob("good-*.parquet"))
    if good:
        connection.execute(f"CREATE VIEW staged AS SELECT * FROM {_parquet(good)}")
    else:
        kinds = COLUMNS["products"]
        shape = ", ".join(name for name in kinds if name not in {"seq", "run_id", "stored_at"})
        order = ", ".join(f"NULL::BIGINT AS {name}" for name in ("n", *LINE_DIGEST))
        connection.execute(f"CREATE VIEW staged AS SELECT {shape}, {order} FROM products WHERE false")
    refused = sorted(folder.glob("rejects-*.parquet"))
    rows = _parquet(refused) if refused else "(SELECT NULL::VARCHAR AS product_id WHERE false)"
    connection.execute(f"CREATE VIEW refused AS SELECT product_id FROM {rows}")
    connection.execute("SET VARIABLE first_seq = (SELECT coalesce(max(seq), 0) + 1 FROM products)")
    connection.execute(statement("resolve"))
    connection.execute(statement("vanished") if spec.load == "snapshot" else _EMPTY_VANISHED)
    winners = one(connection, "SELECT count(*) FROM winners")
    run.counts["repeated"] = one(connection, "SELECT count(*) FROM told") - winners
    run.counts["stored"] = one(connection, "SELECT count(*) FROM chosen")
    run.counts["unchanged"] = winners - run.counts["stored"]
    run.counts["removed"] = one(connection, "SELECT count(*) FROM vanished")


def _refuse_if_shrunk(run: Run, spec: CatalogSpec, connection: duckdb.DuckDBPyConnection) -> None:
    stored = one(connection, "SELECT count(*) FROM state")
    gone = run.counts["removed"]
    if stored and gone / stored > spec.max_vanished:
        raise SourceShrunk(
            f"{gone:,} of {stored:,} stored products ({gone / stored:.1%}) are not in this snapshot, "
            f"more than the {spec.max_vanished:.1%} that the catalogue allows; nothing was changed",
            where=", ".join(run.source),
            hint="check that the file is whole; if it is right, raise max_vanished in the catalogue's TOML",
        )


def _commit(run: Run, spec: CatalogSpec, connection: duckdb.DuckDBPyConnection, folder: Path, files: list[str]) -> None:
    now = datetime.now(UTC)
    _refuse_changed_kinds(run, connection)
    if run.counts["stored"]:
        run.append("products", *_new_products(run, connection, folder, now))
    if run.counts["stored"] or run.counts["removed"]:
        run.overwrite("state", copied(run, connection, statement("new_state")))
    if run.counts["removed"]:
        stamp = f"{quoted(run.run_id)} AS run_id, TIMESTAMPTZ {quoted(now.isoformat())} AS removed_at"
        run.append("removed", copied(run, connection, f"SELECT product_id, seq, {stamp} FROM vanished"))
    remember(run, connection)
    if run.counts["repeated"]:
        connection.execute(statement("contested"))
        if one(connection, "SELECT count(*) FROM contested"):
            run.append("conflicts", copied(run, connection, _conflicts(run, spec, files)))


def _new_products(run: Run, connection: duckdb.DuckDBPyConnection, folder: Path, now: datetime) -> list[Path]:
    """Files of the chosen rows in the order of their numbers: what reads a range of these reads a part of a file."""
    stamp = {"run_id": pl.lit(run.run_id), "stored_at": pl.lit(now, dtype=TIME)}
    made: list[Path] = []
    held: list[pl.DataFrame] = []
    for file in sorted(folder.glob("good-*.parquet")):
        first, last = pl.scan_parquet(file).select(pl.min("n"), last=pl.max("n")).collect().row(0)
        chosen = connection.execute(f"SELECT n, seq FROM chosen WHERE n BETWEEN {first} AND {last}").pl()
        if chosen.height:
            staged = pl.read_parquet(file).join(chosen, on="n", maintain_order="left")
            held.append(staged.select("seq", pl.exclude("seq", "n", *LINE_DIGEST)).with_columns(**stamp))
        if sum(rows.estimated_size() for rows in held) >= STORED_BYTES:
            made.append(_written(run, held))
            held = []
    return [*made, _written(run, held)] if held else made


def _written(run: Run, parts: list[pl.DataFrame]) -> Path:
    path = new_file(run)
    tables.write_parquet(pl.concat(parts), path)
    return path


def _conflicts(run: Run, spec: CatalogSpec, files: list[str]) -> str:
    """SQL for the rows that lost to a later row of the same id and say something else.

    Of a line that was known, the values are those of the product as it is stored, and the place is that of the line.
    """
    names = ["known_path", *[field.name for field in spec.fields], *spec.keep]
    differs = ", ".join(
        f"CASE WHEN lost.{column(name)} IS DISTINCT FROM kept.{column(name)} THEN {quoted(name)} END" for name in names
    )
    row = ", ".join(f"{column(name)} := lost.{column(name)}" for name in names)
    place = f"[{', '.join(map(quoted, files))}][n // {ORDER_STEP} + 1] AS source_file, n % {ORDER_STEP} AS source_row"
    return f"""
        WITH asked AS MATERIALIZED (SELECT lost AS n FROM contested UNION SELECT kept FROM contested),
        known AS MATERIALIZED (FROM met SEMI JOIN asked USING (n)),
        rows AS MATERIALIZED (
            FROM staged SEMI JOIN asked USING (n)
            UNION ALL BY NAME
            SELECT known.n, {place}, products.* EXCLUDE (source_file, source_row)
            FROM known JOIN products ON products.seq = known.seq
        )
        SELECT {quoted(run.run_id)} AS run_id, lost.product_id,
               lost.source_file AS source, lost.source_row AS line,
               kept.source_file AS kept_source, kept.source_row AS kept_line,
               lost.known_path, kept.known_path AS kept_path,
               list_filter([{differs}], lambda name: name IS NOT NULL) AS differs,
               to_json(struct_pack({row}))::VARCHAR AS row
        FROM contested
        JOIN rows AS lost ON lost.n = contested.lost
        JOIN rows AS kept ON kept.n = contested.kept
        ORDER BY lost.n
    """


def _commit_rejects(run: Run, folder: Path) -> None:
    found = ", ".join(quoted(str(path)) for path in sorted(folder.glob("rejects-*.parquet")))
    if not found:
        return
    stamp = f"{quoted(run.run_id)} AS run_id, TIMESTAMPTZ {quoted(datetime.now(UTC).isoformat())} AS rejected_at"
    rows = f"SELECT source_file AS source, source_row AS line, raw, reasons, {stamp} FROM read_parquet([{found}])"
    with engine(run) as connection:
        run.append("rejects", copied(run, connection, rows))


def _refuse_changed_kinds(run: Run, connection: duckdb.DuckDBPyConnection) -> None:
    """Raise SpecInvalid when a field is stored as another type than it has now."""
    shapes = [
        {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE {table}").fetchall()}
        for table in ("products", "staged")
    ]
    clashing = [name for name, kind in shapes[1].items() if shapes[0].get(name, kind) != kind]
    if clashing and run.files("products"):
        raise SpecInvalid(
            f"{', '.join(clashing)}: stored products hold another kind of value",
            where=f"catalogue {run.catalog}, fields",
            hint="a field keeps its kind: give the changed one another name, or start a new catalogue",
        )
