"""Labels that people give: checked as a whole against what is stored, then kept with where they came from.

The newest label of a product is the one that counts: it wins over the prediction in SQL, and trains the next model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import polars as pl

from catalogs import registry
from catalogs.label_file import LabelFile, Problem
from catalogs.product import KNOWN_PATH, PATH_SEPARATOR, PRODUCT_ID, SOURCE_ROW, join_paths
from catalogs.spec import CatalogSpec
from core.errors import LabelsInvalid, did_you_mean
from warehouse import columns, tables
from warehouse.home import Home, get_home
from warehouse.recorded import recorded
from warehouse.runs import Run, open_run

__all__ = ["Imported", "import_labels"]

FLOW = "review import"
PROBLEMS_SHOWN = 10

Paths = Mapping[str, list[str]]
"""Labels as people write them, and as paths."""
Scan = Callable[[str], pl.LazyFrame]
"""The rows of one of a catalogue's tables, by its kind."""


@dataclass(frozen=True)
class Imported:
    """What an import did with the rows of one catalogue.

    Attributes:
        catalog: whose.
        run_id: the run that stored them.
        stored: labels that are new, or other than before.
        unchanged: labels that were there.
        repeated: rows that say again what another row of the file says.
        confirmed: stored ones that are what the model says.
        new_labels: labels that the catalogue had not.
    """

    catalog: str
    run_id: str
    stored: int
    unchanged: int
    repeated: int
    confirmed: int
    new_labels: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def import_labels(given: LabelFile, by: str, *, new_labels: bool = False) -> list[Imported]:
    """Store the labels of a file, a run for each catalogue in it; nothing where any row is wrong.

    Args:
        given: the file.
        by: who labelled the rows that do not say it.
        new_labels: whether labels that a catalogue has not are meant.

    Raises:
        LabelsInvalid: every row that is wrong, with its line.
        WarehouseError: as `runs.open_run`.
    """
    digest = tables.sha256(given.path)
    labelled = given.labelled.with_columns(pl.col("labelled_by").fill_null(by))
    home, problems = get_home(), [*given.problems, *_without_catalog(labelled)]
    for catalog, own in _by_catalog(labelled):
        scan = partial(_scan_recorded, home, catalog, recorded(home, catalog))
        problems += _Check(registry.load(catalog), own, scan, new_labels).problems()
    _refuse(given, problems)
    done = []
    for catalog, own in _by_catalog(labelled):
        with open_run(catalog, FLOW, [str(given.path)]) as run:
            run.source_digest = digest
            check = _Check(registry.load(catalog), own, run.scan, new_labels)
            _refuse(given, check.problems())  # something may have changed since the first look
            done.append(_store(run, check, str(given.path), digest))
    return done


def _by_catalog(labelled: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """The rows of each catalogue that there is, by name."""
    known = registry.names()
    named = labelled.filter(pl.col("catalog").is_in(known)).partition_by("catalog", as_dict=True, maintain_order=True)
    return sorted((str(key[0]), own) for key, own in named.items())


def _without_catalog(labelled: pl.DataFrame) -> list[Problem]:
    known = registry.names()
    lost = labelled.filter(~pl.col("catalog").is_in(known).fill_null(value=False))
    return [
        Problem(line, "catalog", catalog or "", f"there is no such catalogue; {did_you_mean(catalog or '', known)}")
        for line, catalog in lost.select(SOURCE_ROW, "catalog").iter_rows()
    ]


def _scan_recorded(home: Home, catalog: str, versions: Mapping[str, int], kind: str) -> pl.LazyFrame:
    """Rows of a table as the last recorded run left it."""
    found = tables.scan(home.table(catalog, kind), versions.get(kind))
    return tables.empty(kind).lazy() if found is None else found


def _refuse(given: LabelFile, problems: list[Problem]) -> None:
    """Raise LabelsInvalid where there are problems, with the first of them."""
    if not problems:
        return
    ordered = sorted(problems, key=lambda problem: problem.line)
    listed = "".join(f"\n  - {problem}" for problem in ordered[:PROBLEMS_SHOWN])
    more = len(ordered) - PROBLEMS_SHOWN
    raise LabelsInvalid(
        f"{len(ordered):,} {'problem' if len(ordered) == 1 else 'problems'}, nothing was imported{listed}"
        + (f"\n  - … and {more:,} more" if more > 0 else ""),
        where=str(given.path),
        hint="mend these lines, or empty their label, and import the file again",
    )


class _Check:
    """The labelled rows of one catalogue against what is stored of it.

    Args:
        spec: the catalogue.
        rows: as `LabelFile.rows`, with a label.
        scan: the catalogue's tables.
        new_labels: whether labels that it has not are meant.
    """

    def __init__(self, spec: CatalogSpec, rows: pl.DataFrame, scan: Scan, new_labels: bool) -> None:
        self.spec, self.rows, self.new_labels = spec, rows, new_labels
        ids = rows.select(PRODUCT_ID).unique()
        current = scan("state").join(ids.lazy(), on=PRODUCT_ID, how="semi")
        self.current = current.select(PRODUCT_ID, "label_path", "confidence", "model_version").collect()
        self.said = tables.conform(scan("labels").join(ids.lazy(), on=PRODUCT_ID, how="semi").collect(), "labels")
        self.known = _known(spec, scan)
        self.allowed = None if spec.label.allowed is None else set(spec.label.allowed)

    def problems(self) -> list[Problem]:
        """Everything that is wrong with these rows."""
        there, found = set(self.current[PRODUCT_ID]), []
        whys = {label: self._why_not(label) for label in self.rows["label"].unique()}
        for line, product, label in self.rows.select(SOURCE_ROW, PRODUCT_ID, "label").iter_rows():
            if product is None:
                found.append(Problem(line, PRODUCT_ID, "", "a label without a product; give its id, or leave it out"))
            elif product not in there:
                found.append(Problem(line, PRODUCT_ID, product, _unknown_product(self.spec.name)))
            if (why := whys[label]) is not None:
                found.append(Problem(line, "label", label, why))
        return found + self._contradictions()

    def _why_not(self, label: str) -> str | None:
        """Why a label cannot be given, and what to do; None where it can."""
        path = self.path(label)
        if self.allowed is not None and path[0] not in self.allowed:
            near = did_you_mean(path[0], self.allowed)
            return f"not among the labels that {self.spec.name}.toml allows; {near}"
        if path[0] in self.spec.label.ignored:
            return f"{self.spec.name}.toml has it as a label that this task has not (ignored); choose another one"
        if label in self.known or (len(path) == 1 and path[0] in (self.allowed or ())):
            return None
        if len(path) > len(self.spec.levels) or not all(path):
            return f"a path has the levels {', '.join(self.spec.levels)}, and '{PATH_SEPARATOR}' between them"
        below = sorted(known for known in self.known if known.startswith(label + PATH_SEPARATOR))
        if below and not self.new_labels:
            return f"the path goes on below it, for example {below[0]}; give all of it, or --new-labels"
        if self.new_labels:
            return None
        return f"catalogue {self.spec.name} has no such label; {_near(label, self.known)}; --new-labels takes it as new"

    def _contradictions(self) -> list[Problem]:
        """Products that have more than one label in the file."""
        several = self.rows.filter(pl.col("label").n_unique().over(PRODUCT_ID) > 1, pl.col(PRODUCT_ID).is_not_null())
        first = several.with_columns(pl.col(SOURCE_ROW, "label").first().over(PRODUCT_ID).name.prefix("first_"))
        other = first.filter(pl.col("label") != pl.col("first_label"))
        columns = other.select(SOURCE_ROW, PRODUCT_ID, "label", "first_label", f"first_{SOURCE_ROW}")
        return [
            Problem(line, "label", label, f"product '{product}' is '{before}' in line {at:,}; keep one of the two")
            for line, product, label, before, at in columns.iter_rows()
        ]

    def path(self, label: str) -> list[str]:
        """A label as its path. Labels that are known keep theirs, whatever stands in them."""
        if label in self.known:
            return self.known[label]
        return [part.strip() for part in label.split(PATH_SEPARATOR)] if self.spec.is_path else [label]

    def paths(self) -> pl.DataFrame:
        """One row a product: its label as a path, beside what the model says of it."""
        once = self.rows.unique(PRODUCT_ID, keep="last", maintain_order=True)
        paths = pl.Series("label_path", [self.path(label) for label in once["label"]], dtype=columns.PATH)
        current = self.current.rename({"label_path": "predicted_path"})
        given = once.with_columns(paths).with_columns(join_paths("label_path").alias("label"))
        return given.join(current, on=PRODUCT_ID, how="left", maintain_order="left")


def _known(spec: CatalogSpec, scan: Scan) -> Paths:
    """Every label of a catalogue: of its products, from the model, from people."""
    state = scan("state")
    sources = [state.select(KNOWN_PATH), state.select("label_path"), scan("labels").select("label_path")]
    paths: dict[str, list[str]] = {}
    for source in sources:
        named = source.select(pl.first().alias("path")).drop_nulls()
        distinct = named.group_by(join_paths("path").alias("label")).agg(pl.col("path").first()).collect()
        paths |= dict(distinct.iter_rows())
    if not spec.is_path:
        paths |= {label: [label] for label in spec.label.allowed or ()}
    return paths


def _near(label: str, known: Paths) -> str:
    """Labels that may have been meant; not the whole list, which may be of hundreds."""
    told = did_you_mean(label, known)
    return told if told.endswith("?") else f"it is like none of its {len(known):,} labels"


def _unknown_product(catalog: str) -> str:
    return (
        f"no current product of catalogue {catalog}; look into the view products, and whether a spreadsheet has "
        "changed the id"
    )


def _store(run: Run, check: _Check, source: str, digest: str) -> Imported:
    """Append what is new, as this run's labels."""
    given = check.paths()
    fresh = given.join(_unchanged(given, check.said, digest), on=PRODUCT_ID, how="anti", maintain_order="left")
    if not fresh.is_empty():
        newest = run.read("labels")["labelled_at"]
        kept = fresh.with_columns(
            pl.lit(run.later_than(newest), dtype=columns.TIME).alias("labelled_at"),
            pl.lit(run.run_id).alias("run_id"),
            pl.lit(source).alias("source_file"),
            pl.lit(digest).alias("source_digest"),
        )
        run.append("labels", tables.conform(kept, "labels").select(list(columns.COLUMNS["labels"])))
    new = fresh.filter(~pl.col("label").is_in(list(check.known)))["label"].unique().sort()
    return Imported(
        run.catalog,
        run.run_id,
        fresh.height,
        given.height - fresh.height,
        check.rows.height - given.height,
        int((fresh["label_path"] == fresh["predicted_path"]).sum()),
        new.to_list(),
    )


def _unchanged(given: pl.DataFrame, said: pl.DataFrame, digest: str) -> pl.DataFrame:
    """Products whose label changes nothing: the same person's, and the newest one, or taken from this very file before.

    The second holds when somebody else has given another one since: an old file does not turn that back.
    """
    same = [PRODUCT_ID, "label", "labelled_by"]
    before = said.with_columns(join_paths("label_path").alias("label")).sort("labelled_at")
    newest = before.unique(PRODUCT_ID, keep="last", maintain_order=True)
    of_file = before.filter(pl.col("source_digest") == digest)
    return given.join(pl.concat([newest, of_file]), on=same, how="semi").select(PRODUCT_ID)
