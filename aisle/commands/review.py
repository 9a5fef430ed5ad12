"""`aisle review`: products that a person should look at go out, and come back with labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aisle.commands.catalogues import require
from aisle.options import Catalog, Json
from aisle.render import as_json, count, emit

if TYPE_CHECKING:
    from warehouse.labels import Imported


def export_review(
    catalog: Catalog,
    most: Annotated[int, typer.Option("--most", metavar="N", min=1, max=100_000, help="Products to write at most.")] = (
        100
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="By its ending CSV, TSV, JSON lines or Parquet; review_CATALOG.csv in this folder by default.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json_: Json = False,
) -> None:
    """Write the products that are most worth a person's look to a file.

    Of those in review the model is least sure of, and of each kind some, the most useful first. Fill in the column
    label (labelled_by and why where you like), leave the rest, and give it to aisle review import.
    """
    require(catalog)
    from aisle.running import working
    from catalogs.registry import load
    from core.settings import get_settings
    from warehouse.home import get_home
    from warehouse.review import FORMATS, export_review

    path = out or Path(f"review_{catalog}.csv")
    if path.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"'{path.name}' ends in none of {', '.join(FORMATS)}", param_hint="--out")
    with working(f"review export {catalog}"):
        done = export_review(get_home(), load(catalog), path, most, get_settings().seed, replace=force)
    if as_json_:
        emit(as_json({"catalog": catalog, "path": str(done.path), "rows": done.rows, "in_review": done.waiting}))
        return
    emit(f"{catalog}: {count(done.rows)} of {count(done.waiting)} products in review in {done.path}")
    if done.rows:
        emit(f"next: fill in its column label, then aisle review import {done.path}")


def import_labels(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of labels.", show_default=False)],
    by: Annotated[
        str | None,
        typer.Option(
            "--by", metavar="NAME", help="Who labelled rows without labelled_by; you by default.", show_default=False
        ),
    ] = None,
    new_labels: Annotated[
        bool, typer.Option("--new-labels", help="Take labels that the catalogue has not had so far.")
    ] = False,
    as_json_: Json = False,
) -> None:
    """Take in labels that people gave.

    From the columns catalog, product_id and label; rows without a label are passed over. All rows are checked before
    anything is stored. Labels win over predictions at once, and train the next model; a later one replaces them.
    """
    from aisle.running import working
    from catalogs.label_file import read_labels
    from warehouse.labels import import_labels

    with working(f"review import {file}"):
        given = read_labels(file)
        done = import_labels(given, by or _user(), new_labels=new_labels)
    skipped = given.rows.height - given.labelled.height
    if as_json_:
        facts = {"path": str(file), "rows": given.rows.height, "skipped": skipped}
        emit(as_json(facts | {"catalogs": [one.as_dict() for one in done]}))
        return
    for one in done:
        emit(_in_words(one))
    if skipped:
        emit(f"{count(skipped)} of {count(given.rows.height)} rows have no label yet")
    for one in done:
        if one.stored:
            emit(f"next: aisle train {one.catalog}, so that a model learns from them")


def _in_words(done: Imported) -> str:
    told = f"{done.catalog}: {count(done.stored)} labels taken in"
    if done.stored:
        told += f", {count(done.confirmed)} of them as the model has it"
    same = [
        f"{count(number)} {what}"
        for number, what in ((done.unchanged, "were there already"), (done.repeated, "stand twice in the file"))
        if number
    ]
    told += "".join(f"; {one}" for one in same)
    return told + (f"; new labels: {', '.join(done.new_labels)}" if done.new_labels else "")


def _user() -> str:
    """The name of whoever runs this.

    Raises:
        typer.BadParameter: the system knows none, as in some containers.
    """
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        raise typer.BadParameter("this system does not know your name: give it", param_hint="--by") from None
