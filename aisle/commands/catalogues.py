"""`aisle catalogs`: which catalogues there are, and what is wrong with a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aisle.options import Json
from aisle.render import as_json, emit, facts, table
from core.errors import AisleError, CatalogError

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec, FieldSpec


def list_catalogs(as_json_: Json = False) -> None:
    """List the catalogues.

    Your own, from the folder that AISLE_CATALOGS names, and the built-in ones.
    """
    from catalogs.registry import names

    found = [_described(name) for name in names()]
    if as_json_:
        emit(as_json(found))
        return
    columns = ["name", "title", "label", "fields", "from"]
    emit(table(columns, [[_cell(entry, column) for column in columns] for entry in found]))


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A catalogue's TOML file.", show_default=False)],
    as_json_: Json = False,
) -> None:
    """Say what is wrong with a TOML file.

    Every problem with its key; or, when there is none, what the file declares.
    """
    from catalogs.registry import check as check_file

    spec = check_file(file)
    _check_recipes(spec)
    if as_json_:
        emit(as_json({"catalog": spec.name, "valid": True, "spec": spec.model_dump(mode="json")}))
        return
    emit(f"{file}: fine")
    declared = [
        ("title", spec.title),
        ("id", spec.id or "(a digest of the text)"),
        ("label", " > ".join(spec.levels)),
        ("fields", "; ".join(f"{field.name} ({_manner(field)})" for field in spec.fields)),
        ("kept", ", ".join(spec.keep) or "none"),
        ("rules", len(spec.expectations)),
        ("recipe", spec.recipe.name),
        ("load", spec.load),
    ]
    emit(facts(declared))


def _manner(field: FieldSpec) -> str:
    """How a field is read, as far as its file says."""
    column = [f"of {field.column}"] if field.column != field.name else []
    needed = [] if field.optional is None else ["optional" if field.optional else "required"]
    marks = [*(name for name in ("html", "host") if getattr(field, name)), *needed]
    bins = [f"{field.bins} bins"] if field.kind == "number" else []
    weight = [f"weight {field.weight:g}"] if field.weight != 1 else []
    return ", ".join([field.kind, *column, *marks, *bins, *weight])


def _check_recipes(spec: CatalogSpec) -> None:
    """Fail for a recipe, a parameter or a space that no training and no search could use."""
    from classifier.recipes import resolve
    from classifier.space import declared_space

    for name in (None, *spec.recipes):
        resolve(spec, name)
        declared_space(spec, name)


def _described(name: str) -> dict[str, Any]:
    """One catalogue for the list; a file that cannot be used is told apart, it must not hide the others."""
    from catalogs.registry import BUILTIN, load, path_of

    path = path_of(name)
    about: dict[str, Any] = {"name": name, "from": "built in" if path.parent == BUILTIN else str(path)}
    try:
        spec = load(name)
    except CatalogError as error:
        return about | {"error": error.message, "title": f"cannot be used: aisle catalogs check {path}"}
    return about | {
        "title": spec.title,
        "licence": spec.licence,
        "id": spec.id,
        "label": spec.levels,
        "fields": {field.name: field.kind for field in spec.fields},
        "load": spec.load,
    }


def _cell(entry: dict[str, Any], column: str) -> str:
    value = entry.get(column, "")
    return " > ".join(value) if column == "label" and value else ", ".join(value) if column == "fields" else str(value)


def require(catalog: str) -> None:
    """Fail at once for a catalogue that is unknown or cannot be used, before anything slow is imported.

    Raises:
        UnknownCatalog, SpecInvalid: as catalogs.registry says.
    """
    from catalogs.registry import load

    try:
        load(catalog)
    except AisleError as error:
        if catalog.endswith(".toml"):
            error.hint = "give a catalogue's name; a folder of your own TOML files is named by AISLE_CATALOGS"
        raise
