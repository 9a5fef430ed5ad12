"""The published views over the files in the bucket, as a SQL script.

It is for machines without a copy of the home, with a DuckDB that reads S3 by itself (its extension httpfs).
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from core.errors import HomeUnusable
from warehouse.home import Home, write_atomically
from warehouse.publish import VIEWS
from warehouse.query import published
from warehouse.statements import quoted

NAME = "warehouse-s3.sql"


def write_s3_views(home: Home) -> Path:
    """Write the script beside `warehouse.duckdb`, from what was last published there.

    The files that it names stay in the bucket for `AISLE_RETENTION_DAYS`.

    Raises:
        HomeUnusable: the home is a folder.
        NothingPublished: no run has been published yet.
    """
    if home.address is None:
        raise HomeUnusable(
            "is a folder: there is nothing on S3 to read",
            where=str(home.root),
            hint="leave --s3 away, or set AISLE_HOME",
        )
    with duckdb.connect(str(published(home)), read_only=True) as connection:
        catalogs = connection.execute("SELECT catalog FROM tables.published ORDER BY ALL").fetchall()
        views = connection.execute(
            "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal"
        ).fetchall()
    here, there = (quoted(f"{root}/tables/")[:-1] for root in (home.root, home.address))
    tables = [sql.replace(here, there) for schema, _, sql in views if schema == "tables"]
    own = {name: sql for schema, name, sql in views if schema != "tables"}
    listed = [f"INSERT INTO tables.published VALUES ({quoted(name)});" for (name,) in catalogs]
    script = [
        "CREATE SCHEMA tables;",
        "CREATE TABLE tables.published (catalog VARCHAR);",
        *listed,
        *tables,
        *(own[name] for name in VIEWS),
        "",
    ]
    path = home.root / NAME
    write_atomically(path, "\n".join(script))
    return path
