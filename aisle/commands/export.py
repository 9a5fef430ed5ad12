"""`aisle export`: predictions as one file for others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aisle.commands.catalogues import require
from aisle.options import Catalog, Json
from aisle.render import as_json, count, emit

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec
    from warehouse.export import Exported, Filters

Decision = Literal["accepted", "review"]


def export(
    catalog: Catalog,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="PATH", help="The file to write; a contract says its name, and takes a folder as well."
        ),
    ] = None,
    format_: Annotated[
        Literal["parquet", "csv", "duckdb"] | None,
        typer.Option("--format", help="By default, what the file's name ends in.", show_default=False),
    ] = None,
    contract: Annotated[
        str | None,
        typer.Option("--contract", metavar="NAME", help="The file that this outside contract wants: asos."),
    ] = None,
    decision: Annotated[
        Decision | None, typer.Option("--decision", help="Only predictions so decided.", show_default=False)
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="LABEL", help="Only this label, of a path what lies below; may be repeated."),
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option("--min-confidence", min=0, max=1, help="Only from this confidence on.", show_default=False),
    ] = None,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Only products that came without a label.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json_: Json = False,
) -> None:
    """Write current predictions to a file that stands alone.

    Parquet, CSV (lists in it are JSON) or a DuckDB file with one table, predictions; or, with --contract, the file that
    an outside contract wants. It appears complete or not at all.
    """
    require(catalog)
    from aisle.running import working
    from catalogs.registry import load
    from warehouse.export import Filters

    filters = Filters(decision, tuple(label or ()), min_confidence, unlabelled)
    with working(f"export {catalog}"):
        if contract is None:
            done = _plain(catalog, out, format_, filters, force)
        else:
            if format_ is not None or filters != Filters():
                raise typer.BadParameter("a contract says itself which rows and which format", param_hint="--contract")
            done = _contract(load(catalog), contract, out, force)
    if as_json_:
        emit(as_json({"catalog": catalog, "path": str(done.path), "format": done.format, "rows": done.rows}))
        return
    emit(f"{catalog}: {count(done.rows)} predictions in {done.path}")


def _plain(catalog: str, out: Path | None, kind: str | None, filters: Filters, force: bool) -> Exported:
    from warehouse.export import FORMATS, export
    from warehouse.home import get_home

    if out is None:
        raise typer.BadParameter("name the file to write", param_hint="--out")
    chosen = FORMATS.get(f".{kind}" if kind else out.suffix.lower())
    if chosen is None:
        raise typer.BadParameter(
            f"'{out.name}' ends in none of {', '.join(FORMATS)}: give --format too", param_hint="--out"
        )
    return export(get_home(), catalog, out, chosen, filters, replace=force)


def _contract(spec: CatalogSpec, contract: str, out: Path | None, force: bool) -> Exported:
    from core.errors import UsageError, did_you_mean
    from warehouse.export import CONTRACT_FILES, export_contract
    from warehouse.home import get_home

    if contract not in CONTRACT_FILES:
        raise UsageError(f"contract '{contract}' has no file", hint=did_you_mean(contract, CONTRACT_FILES))
    if spec.contract != contract:
        raise UsageError(
            f"catalogue {spec.name} does not keep the contract {contract}",
            where=f"catalogue {spec.name}, contract",
            hint=f'name a catalogue whose TOML has contract = "{contract}"',
        )
    name = CONTRACT_FILES[contract]
    path = Path(name) if out is None else out / name if out.is_dir() else out
    return export_contract(get_home(), spec, path, replace=force)
