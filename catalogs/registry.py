"""Finding catalogues by name, and reading their TOML files with errors that name the key."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from catalogs.policies import AcceptSpec, DriftSpec, FreshnessSpec, GateSpec, HoldoutSpec, RetrainSpec
from catalogs.spec import (
    CatalogSpec,
    DisagreeingKeysError,
    FieldSpec,
    LabelSpec,
    RecipeSpec,
    RuleSpec,
    SourceSpec,
)
from core.errors import SpecInvalid, UnknownCatalog, did_you_mean
from core.settings import get_settings

__all__ = ["BUILTIN", "check", "load", "names", "path_of"]

BUILTIN = Path(__file__).resolve().parent / "builtin"

_PARTS: dict[str, type[BaseModel]] = {
    "": CatalogSpec,
    "label": LabelSpec,
    "fields": FieldSpec,
    "source": SourceSpec,
    "expectations": RuleSpec,
    "accept": AcceptSpec,
    "gate": GateSpec,
    "holdout": HoldoutSpec,
    "recipe": RecipeSpec,
    "recipes": RecipeSpec,
    "drift": DriftSpec,
    "retrain": RetrainSpec,
    "freshness": FreshnessSpec,
}


def names() -> list[str]:
    """Names of all catalogues: your own (AISLE_CATALOGS) and the built-in ones, sorted."""
    return sorted({path.stem for folder in _folders() for path in folder.glob("*.toml")})


def path_of(name: str) -> Path:
    """The TOML file of a catalogue. Your own file wins over a built-in one of the same name.

    Raises:
        UnknownCatalog: no file of that name.
    """
    known = names()
    if name not in known:  # also keeps names like ../../x from becoming paths
        where = " or ".join(str(folder) for folder in _folders())
        near = did_you_mean(name, known)
        near += "" if near.endswith("?") else "."
        hint = f"{near} A new one is a file {name}.toml in the folder named by AISLE_CATALOGS."
        raise UnknownCatalog(f"there is no catalogue '{name}'", where=where, hint=hint)
    return next(path for folder in _folders() if (path := folder / f"{name}.toml").is_file())


def load(name: str) -> CatalogSpec:
    """The catalogue of that name.

    Raises:
        UnknownCatalog: no file of that name.
        SpecInvalid: a file that cannot be used.
    """
    path = path_of(name)
    return _cached(path, path.stat().st_mtime_ns)


def check(path: Path) -> CatalogSpec:
    """Read one TOML file.

    Raises:
        SpecInvalid: not there, not TOML, or every problem in it, each with its key.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise SpecInvalid(f"not valid TOML: {error}", where=str(path), hint="mend the line that it names") from None
    except UnicodeDecodeError as error:
        raise SpecInvalid(f"not UTF-8 at byte {error.start}", where=str(path), hint="save it as UTF-8") from None
    except OSError as error:
        hint = "name a readable TOML file"
        raise SpecInvalid(f"cannot be read: {error.strerror or error}", where=str(path), hint=hint) from None
    given = data.setdefault("name", path.stem)
    try:
        spec = CatalogSpec.model_validate(data)
    except ValidationError as error:
        problems = [problem for entry in error.errors() for problem in _explain(dict(entry))]
        raise SpecInvalid(_listed(problems), where=str(path), hint="docs/catalogues.md describes every key") from None
    if given != path.stem:
        text = f"name: '{given}' is not the file's name; leave the key out or call the file {given}.toml"
        raise SpecInvalid(text, where=str(path), hint="a catalogue is called like its file")
    return spec


@lru_cache(maxsize=64)
def _cached(path: Path, _modified_ns: int) -> CatalogSpec:
    return check(path)


def _folders() -> list[Path]:
    own = get_settings().catalogs
    if own is None:
        return [BUILTIN]
    if not own.is_dir():
        hint = "create it, or change or unset AISLE_CATALOGS"
        raise UnknownCatalog("AISLE_CATALOGS is not a folder", where=str(own), hint=hint)
    return [own, BUILTIN]


def _listed(problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems" + "".join(f"\n  - {problem}" for problem in problems)


def _explain(entry: dict[str, Any]) -> list[str]:
    """One pydantic error as lines of `key: what is wrong`."""
    location: tuple[str | int, ...] = entry["loc"]
    cause = entry.get("ctx", {}).get("error")
    if isinstance(cause, DisagreeingKeysError):
        return [f"{key}: {text}" for key, text in cause.problems]
    key = _key(location) or "the file"
    if entry["type"] == "extra_forbidden":
        part = _PARTS[str(location[0]) if len(location) > 1 else ""]
        return [f"{key}: there is no such key; {did_you_mean(str(location[-1]), part.model_fields)}"]
    if entry["type"] == "missing":
        return [f"{key}: is missing"]
    text = str(cause) if cause is not None else str(entry["msg"])
    if entry["type"] == "string_pattern_mismatch":
        text = "lower-case letters, digits and _ only, a letter first"
    value = entry["input"]
    shown = f" (it is {value!r})" if isinstance(value, str | int | float | bool) else ""
    return [f"{key}: {text}{shown}"]


def _key(location: tuple[str | int, ...]) -> str:
    """`("fields", 0, "kind")` as `fields[0].kind`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
