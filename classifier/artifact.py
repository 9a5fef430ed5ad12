"""The model as a folder that people can read: JSON, Parquet, .npy arrays, a card; no pickle anywhere.

manifest.json        what it is: schema, catalogue, recipe, labels, facts, library versions, sha256 of every file
card.md              the same for people
intercept.npy        score of each label before any token
calibration.parquet  level, knot, value: the confidence curve of each level of the labels, over log-odds
model.skops          the fitted scikit-learn calibrators behind those curves, a list with one a level
thresholds.parquet   one row a label, and a node above labels that are paths
evidence.parquet     what was said of each out-of-fold row, from which thresholds for another target are found
fields/<field>/      what each field learnt: words.parquet, grams2.parquet, …, and weights as .npy
reference.parquet    a sample of products that it did not learn from, with its answers: what drift is told by
embedding/           where products lie by their words, for drift: words, components, clusters
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from catalogs.spec import CatalogSpec
from classifier.calibration import Calibration, Curve
from classifier.card import render_card
from classifier.fields import FieldVectoriser
from classifier.model import Model, vectoriser_of
from classifier.parts import Array
from classifier.recipes import Recipe
from classifier.tree import Tree
from core.errors import ArtifactDamaged, ModelError

if TYPE_CHECKING:
    from sklearn.isotonic import IsotonicRegression

    from classifier.embedding import Embedding

__all__ = [
    "SCHEMA",
    "calibrators",
    "embedding",
    "evidence",
    "load",
    "manifest",
    "reference",
    "save",
    "size",
    "vocabulary",
]

SCHEMA = 2
# Every type that model.skops may name: what a stock IsotonicRegression is made of.
TRUSTED_TYPES = frozenset(
    {
        "builtins.dict",
        "builtins.float",
        "builtins.int",
        "builtins.list",
        "builtins.str",
        "numpy.dtype",
        "numpy.float64",
        "numpy.ndarray",
        "sklearn.isotonic.IsotonicRegression",
    }
)
_LIBRARIES = ("numpy", "polars", "scikit-learn", "scipy", "skops")


def save(
    model: Model,
    folder: Path,
    facts: dict[str, Any],
    sample: pl.DataFrame | None = None,
    embedding: Embedding | None = None,
) -> str:
    """Write the model to a new folder, complete or not at all.

    Args:
        model: what to write.
        folder: must not exist, or be empty.
        facts: anything JSON that belongs with it: metrics, digest of the data, run, time.
        sample: products that it did not learn from, with its answers, kept for drift.
        embedding: fitted on its training products, kept for drift.

    Returns:
        The model's digest: sha256 of its manifest, which holds the sha256 of every other file.

    Raises:
        ModelError: the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ModelError("holds something already", where=str(folder), hint="save to a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(model, staging, sample)
        content = _manifest_of(model, facts)
        if embedding is not None:
            content["embedding"] = embedding.save(staging / "embedding")
        (staging / "card.md").write_text(render_card(content, model.thresholds), encoding="utf-8")
        content["files"] = {
            path.relative_to(staging).as_posix(): _sha256(path) for path in sorted(staging.rglob("*")) if path.is_file()
        }
        text = json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True)
        (staging / "manifest.json").write_text(text, encoding="utf-8")
        staging.chmod(0o755)  # mkdtemp makes it private
        staging.replace(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    model.digest = hashlib.sha256(text.encode()).hexdigest()
    return model.digest


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a model folder.

    Raises:
        ArtifactDamaged: there is none, or it cannot be used.
    """
    return _read_manifest(folder)[0]


def load(folder: Path) -> Model:
    """Read a model back. Weights are mapped into memory, not read, so that processes share them.

    Raises:
        ArtifactDamaged: a file is missing, is not the one that was saved, or holds a type that is not allowed.
    """
    content, digest = _read_manifest(folder)
    for name, expected in content["files"].items():
        _check_file(folder, name, expected)
    _check_types(folder / "model.skops")
    try:
        return _read(folder, content, digest)
    except (KeyError, ValueError, TypeError, OSError, pl.exceptions.PolarsError) as error:
        raise ArtifactDamaged(
            f"its parts do not fit together: {error}", where=str(folder), hint="train the model again"
        ) from error


def size(folder: Path) -> int:
    """Bytes of all files of a model folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def reference(folder: Path) -> pl.DataFrame | None:
    """The products with answers that were saved with the model, if any."""
    path = folder / "reference.parquet"
    return pl.read_parquet(path) if path.is_file() else None


def embedding(folder: Path) -> Embedding | None:
    """Where products lie by their words; None where the model's products have no text, or share no words.

    Raises:
        ArtifactDamaged: its manifest cannot be used.
    """
    from classifier.embedding import Embedding  # it imports scikit-learn, which an API does not need

    about = manifest(folder).get("embedding")
    return None if about is None else Embedding.load(folder / "embedding", about)


def vocabulary(folder: Path) -> dict[str, pl.Series]:
    """Words that the model knows, by text field; those of a prototype, which reads no single field, are left out."""
    tables = {path.parent.name: path for path in (folder / "fields").glob("*/words.parquet")}
    kinds = {one["name"]: one["kind"] for one in manifest(folder)["catalog"]["fields"]}
    return {name: pl.read_parquet(path)["word"] for name, path in tables.items() if kinds.get(name) == "text"}


def calibrators(folder: Path) -> list[IsotonicRegression]:
    """The model's calibrators as scikit-learn has them, one a level of the labels.

    Each takes log-odds of the best label's node of that level, and gives the probability that it is right.

    Raises:
        ArtifactDamaged: the file holds a type that is not allowed.
    """
    import skops.io

    _check_types(folder / "model.skops")
    found: list[IsotonicRegression] = skops.io.load(folder / "model.skops", trusted=[])
    return found


def _write(model: Model, folder: Path, sample: pl.DataFrame | None) -> None:
    import skops.io

    np.save(folder / "intercept.npy", model.intercept)
    calibration = model.calibration
    _curves_table(calibration).write_parquet(folder / "calibration.parquet")
    calibrators = [curve.calibrator() for curve in calibration.curves]
    (folder / "model.skops").write_bytes(_settled(skops.io.dumps(calibrators)))
    model.thresholds.write_parquet(folder / "thresholds.parquet")
    if model.evidence is not None:
        model.evidence.write_parquet(folder / "evidence.parquet")
    for field in model.vectoriser.fields:
        own = folder / "fields" / field.name
        own.mkdir(parents=True)
        for name, table in field.tables().items():
            table.write_parquet(own / f"{name}.parquet")
        for name, array in field.arrays().items():
            np.save(own / f"{name}.npy", array)
    if sample is not None:
        sample.write_parquet(folder / "reference.parquet")


def evidence(folder: Path) -> pl.DataFrame:
    """What was said of the model's out-of-fold rows (`Model.evidence`).

    Raises:
        ArtifactDamaged: it is not there.
    """
    path = folder / "evidence.parquet"
    if not path.is_file():
        raise ArtifactDamaged("is missing", where=str(path), hint="train the model again")
    return pl.read_parquet(path)


def _curves_table(calibration: Calibration) -> pl.DataFrame:
    return pl.concat(
        pl.DataFrame({"level": level, "knot": curve.knots, "value": curve.values}, schema_overrides={"level": pl.Int64})
        for level, curve in enumerate(calibration.curves, start=1)
    )


def _manifest_of(model: Model, facts: dict[str, Any]) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {
        "schema": SCHEMA,
        "catalog": _spec_of(model),
        "recipe": model.recipe.model_dump(mode="json"),
        "labels": model.paths,
        "rows": model.rows,
        "out_of_fold": model.out_of_fold,
        "temperature": model.calibration.temperature,
        "libraries": {"python": platform.python_version(), **versions},
        "facts": facts,
    }


def _spec_of(model: Model) -> dict[str, Any]:
    # In full, so that a later default cannot change what an old model means; but bins are refused where they mean
    # nothing.
    content = model.spec.model_dump(mode="json")
    for field in content["fields"]:
        if field["kind"] != "number":
            del field["bins"]
        if not field["host"]:
            del field["host"]  # an API that is not upgraded yet does not know the key
    return content


def _read_manifest(folder: Path) -> tuple[dict[str, Any], str]:
    path = folder / "manifest.json"
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ArtifactDamaged(
            f"cannot be read: {error.strerror}", where=str(path), hint="name the folder that the model was saved to"
        ) from error
    try:
        content = json.loads(raw)
        schema = content["schema"]
        complete = isinstance(content["files"], dict)
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactDamaged("is not a model's manifest", where=str(path), hint="train the model again") from error
    if schema != SCHEMA or not complete:
        raise ArtifactDamaged(
            f"has schema {schema}, this version reads {SCHEMA}",
            where=str(path),
            hint="use the version of Aisle that wrote it, or train the model again",
        )
    return content, hashlib.sha256(raw).hexdigest()


def _read(folder: Path, content: dict[str, Any], digest: str) -> Model:
    spec = CatalogSpec.model_validate(content["catalog"])
    recipe = Recipe.model_validate(content["recipe"])
    vectoriser = vectoriser_of(spec, recipe)
    intercept = np.load(folder / "intercept.npy")
    for field in vectoriser.fields:
        own = folder / "fields" / field.name
        tables = {path.stem: pl.read_parquet(path) for path in own.glob("*.parquet")}
        arrays = {path.stem: np.asarray(np.load(path, mmap_mode="r")) for path in own.glob("*.npy")}
        field.restore(tables, arrays, content["rows"])
        _check_weights(field, intercept, len(content["labels"]))
    curves = pl.read_parquet(folder / "calibration.parquet").partition_by("level", maintain_order=True)
    calibration = Calibration(
        Tree(content["labels"]),
        content["temperature"],
        tuple(Curve(curve["knot"].to_numpy(), curve["value"].to_numpy()) for curve in curves),
    )
    return Model(
        spec=spec,
        recipe=recipe,
        paths=content["labels"],
        vectoriser=vectoriser,
        intercept=intercept,
        calibration=calibration,
        thresholds=pl.read_parquet(folder / "thresholds.parquet"),
        rows=content["rows"],
        out_of_fold=content["out_of_fold"],
        digest=digest,
    )


def _check_weights(field: FieldVectoriser, intercept: Array, labels: int) -> None:
    """That there is a weight for each token and label: the compiled loops take it for granted."""
    if intercept.shape != (labels,):
        raise ValueError(f"the intercept has the shape {intercept.shape} for {labels} labels")
    for (name, own), width in zip(field.arrays().items(), field.widths, strict=True):
        if own.shape != (width, labels) or own.dtype != intercept.dtype:
            raise ValueError(
                f"{name} of {field.name} is {own.shape}, {own.dtype}, for {width} tokens and {labels} labels"
            )


def _check_file(folder: Path, name: str, expected: str) -> None:
    path, where = folder / name, f"{folder}/{name}"
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ArtifactDamaged("names a file outside its folder", where=where, hint="do not use this model")
    if not path.is_file():
        raise ArtifactDamaged("is missing", where=where, hint="copy the whole folder again, or train the model again")
    if _sha256(path) != expected:
        raise ArtifactDamaged(
            "is not the file that was saved: its sha256 differs from the manifest's",
            where=where,
            hint="copy the whole folder again, or train the model again",
        )


def _check_types(path: Path) -> None:
    """Refuse a skops file that names any type but the few that are expected, before anything is built from it."""
    try:
        with zipfile.ZipFile(path) as archive:
            named = set(_types(json.loads(archive.read("schema.json"))))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ArtifactDamaged(f"is not a skops file: {error}", where=str(path), hint="train the model again") from error
    if strange := sorted(named - TRUSTED_TYPES):
        raise ArtifactDamaged(
            f"holds types that are not allowed: {', '.join(strange)}", where=str(path), hint="do not use this model"
        )


def _types(node: Any) -> Any:
    if isinstance(node, dict):
        if "__class__" in node:
            yield f"{node.get('__module__')}.{node['__class__']}"
        for value in node.values():
            yield from _types(value)
    elif isinstance(node, list):
        for value in node:
            yield from _types(value)


def _settled(skops_file: bytes) -> bytes:
    """The same skops file without memory addresses and times, so that the same model has the same digest."""
    import io
    import re

    settled = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(skops_file)) as source, zipfile.ZipFile(settled, "w", zipfile.ZIP_STORED) as target:
        text = source.read("schema.json").decode()
        addresses = dict.fromkeys(re.findall(r'"__id__": (\d+)', text))
        numbers = {address: str(number) for number, address in enumerate(addresses, start=1)}
        text = re.sub(r"\d{6,}", lambda match: numbers.get(match[0], match[0]), text)
        for name in source.namelist():
            stem, dot, suffix = name.partition(".")
            own = text.encode() if name == "schema.json" else source.read(name)
            target.writestr(zipfile.ZipInfo(f"{numbers.get(stem, stem)}{dot}{suffix}"), own)
    return settled.getvalue()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
