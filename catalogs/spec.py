"""What a catalogue's TOML may say, and what it means.

A spec is plain, frozen data. Every key that is not declared here is refused, and every refusal names its key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from catalogs.agreement import disagreements
from catalogs.policies import AcceptSpec, DriftSpec, FreshnessSpec, GateSpec, HoldoutSpec, Part, RetrainSpec

__all__ = [
    "CatalogSpec",
    "DisagreeingKeysError",
    "FieldSpec",
    "LabelSpec",
    "RecipeSpec",
    "RuleSpec",
    "SourceSpec",
]

Kind = Literal["text", "keyword", "ids", "number"]
# Names become folders, table columns and SQL identifiers.
NAME = r"^[a-z][a-z0-9_]{0,62}$"
Identifier = Annotated[str, StringConstraints(pattern=NAME)]
ColumnName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class DisagreeingKeysError(ValueError):
    """Problems between several keys, as (key, what is wrong) pairs."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {text}" for key, text in problems))
        self.problems = problems


class LabelSpec(Part):
    """Where the label stands: in one column, as a path over several, or as a path in one list column.

    Attributes:
        column: one plain label.
        columns: one column a level, outermost first. A path ends before its first empty level.
        list_column: one column that holds the whole path as a list; `levels` names its levels, deeper ones are cut.
        separator: what splits a `list_column` cell that is text instead of a list.
        allowed: the only labels there are (of the first level); others make the row a reject.
        ignored: labels (of the first level) that the source uses and the task does not have: stored unlabelled.
        aliases: spelling in the source -> label (of the first level).
        html: the source escapes its labels ("Movies &amp; TV").
    """

    column: ColumnName | None = None
    columns: Annotated[list[ColumnName], Field(min_length=1)] | None = None
    list_column: ColumnName | None = None
    levels: Annotated[list[ColumnName], Field(min_length=1)] | None = None
    separator: Annotated[str, StringConstraints(min_length=1, strip_whitespace=False)] = " > "
    allowed: Annotated[list[str], Field(min_length=1)] | None = None
    ignored: list[str] = []
    aliases: dict[str, str] = {}
    html: bool = False

    @property
    def source_columns(self) -> list[str]:
        """Columns of the source that hold the label."""
        return self.columns or [column for column in (self.column, self.list_column) if column is not None]

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [key for key in ("column", "columns", "list_column") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of column, columns, list_column, not {', '.join(given) or 'none'}")
        if (self.list_column is None) != (self.levels is None):
            raise ValueError("levels names the levels of list_column: give both or neither")
        for key in ("columns", "levels"):
            names = getattr(self, key) or []
            if len({name.lower() for name in names}) != len(names):
                raise ValueError(f"{key} names the same column twice")
        if self.allowed is not None:
            if both := sorted(set(self.allowed) & set(self.ignored)):
                raise ValueError(f"allowed and ignored both have {both}")
            if stray := sorted(set(self.aliases.values()) - set(self.allowed) - set(self.ignored)):
                raise ValueError(f"aliases lead to labels that are not allowed: {stray}")
        return self


class FieldSpec(Part):
    """One thing that the model reads.

    Attributes:
        name: column of the stored product, and the scope of its tokens.
        kind: text (words), keyword (one exact token), ids (a list of exact tokens) or number (binned).
        column: column of the source; the name when not given.
        html: the source escapes the value ("&amp;").
        host: a keyword whose source has web addresses: the host of each is the value.
        optional: a source may lack the column. By default text columns are needed, others are not.
        weight: how much the field counts beside the others.
        bins: number of bins of a number, by training quantiles.
    """

    name: Identifier
    kind: Kind
    column: ColumnName = ""
    html: bool = False
    host: bool = False
    optional: bool | None = None
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    bins: Annotated[int, Field(ge=2, le=1000)] = 10

    @model_validator(mode="before")
    @classmethod
    def _column_defaults_to_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "column" not in data and "name" in data:
            return {**data, "column": data["name"]}
        return data

    @model_validator(mode="after")
    def _fitting_keys(self) -> Self:
        if self.kind != "number" and "bins" in self.model_fields_set:
            raise ValueError("bins is for kind = 'number'")
        if self.html and self.kind not in {"text", "keyword"}:
            raise ValueError("html is for text and keyword")
        if self.host and self.kind != "keyword":
            raise ValueError("host is for kind = 'keyword'")
        return self

    @property
    def required(self) -> bool:
        """Whether a source without this column is refused."""
        return self.kind == "text" if self.optional is None else not self.optional


class SourceSpec(Part):
    """How a file is written, where its name does not say it.

    Attributes:
        format: jsonl, csv, tsv or parquet; by default the file's name says it.
        separator: one character between the cells of csv and tsv (default: comma, tab).
        decimal: decimal sign of numbers; the other one may group digits.
        list_separator: what splits the cells of csv and tsv for fields of kind ids; JSON lists are understood anyway.
    """

    format: Literal["jsonl", "csv", "tsv", "parquet"] | None = None
    separator: Annotated[str, StringConstraints(min_length=1, max_length=1)] | None = None
    decimal: Literal[".", ","] = "."
    list_separator: Annotated[str, StringConstraints(min_length=1)] = ","

    @field_validator("separator")
    @classmethod
    def _usable(cls, value: str | None) -> str | None:
        if value is not None and value in '"\r\n':
            raise ValueError("a quote or a line end cannot separate cells")
        return value


class RuleSpec(Part):
    """One expectation of a row, after normalising. An empty value fails only `not_empty`.

    Attributes:
        column: a field, a kept column or product_id.
        rule: not_empty; in_set (`values`); matches, not_matches (`pattern`, found anywhere in the value);
            length_between (characters of a text, entries of ids) and between (numbers), `min` and `max` inclusive.
        severity: reject keeps the row out, warn only counts it.
        reason: what people read beside a rejected row.
    """

    column: ColumnName
    rule: Literal["not_empty", "in_set", "matches", "not_matches", "length_between", "between"]
    values: Annotated[list[str], Field(min_length=1)] | None = None
    pattern: Annotated[str, StringConstraints(min_length=1)] | None = None
    min: float | None = None
    max: float | None = None
    severity: Literal["reject", "warn"] = "reject"
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            _check_pattern(value)
        return value

    @model_validator(mode="after")
    def _arguments_fit(self) -> Self:
        needs = {"in_set": {"values"}, "matches": {"pattern"}, "not_matches": {"pattern"}}.get(self.rule, set())
        may = {"min", "max"} if self.rule in {"length_between", "between"} else needs
        given = {key for key in ("values", "pattern", "min", "max") if getattr(self, key) is not None}
        if missing := needs - given:
            raise ValueError(f"rule {self.rule} needs {', '.join(missing)}")
        if stray := sorted(given - may):
            raise ValueError(f"rule {self.rule} takes no {', '.join(stray)}")
        if may == {"min", "max"} and not given:
            raise ValueError(f"rule {self.rule} needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class RecipeSpec(Part):
    """A recipe of the classifier, the parameters that this catalogue changes, and those that a search tries out.

    Attributes:
        name: the built-in recipe.
        params: parameter → value.
        space: parameter → list of values, in place of the recipe's own space.
    """

    name: str = "linear"
    params: dict[str, Any] = {}
    space: dict[str, Any] = {}


class CatalogSpec(Part):
    """One catalogue: what its products look like, what the model may read, and what is asked of it.

    Attributes:
        name: the file's name without .toml.
        licence: what is known about the right to use the data.
        id: column of the product id; without one the id is a digest of the normalised text.
        keep: further columns to store as text; the model never reads them.
        forbidden: columns that are never read, not even by mistake.
        load: changes (a file holds new and changed products) or snapshot (a file holds all of them).
        max_vanished: share of the stored products that may be missing from a snapshot.
        recipes: further recipes by name, beside the default `recipe`.
        contract: outside contract that the API serves for this catalogue.
    """

    name: Identifier
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    licence: str = "not stated"
    id: ColumnName | None = None
    label: LabelSpec
    fields: Annotated[list[FieldSpec], Field(min_length=1)]
    keep: list[ColumnName] = []
    forbidden: list[ColumnName] = []
    source: SourceSpec = SourceSpec()
    expectations: list[RuleSpec] = []
    load: Literal["changes", "snapshot"] = "changes"
    max_vanished: Annotated[float, Field(ge=0, le=1)] = 0.2
    accept: AcceptSpec = AcceptSpec()
    gate: GateSpec = GateSpec()
    holdout: HoldoutSpec = HoldoutSpec()
    recipe: RecipeSpec = RecipeSpec()
    recipes: dict[Identifier, RecipeSpec] = {}
    drift: DriftSpec = DriftSpec()
    retrain: RetrainSpec = RetrainSpec()
    freshness: FreshnessSpec = FreshnessSpec()
    contract: Literal["elo7", "asos", "newsgroups", "amazon"] | None = None

    @property
    def levels(self) -> list[str]:
        """Names of the label's levels, outermost first; one for a plain label."""
        return self.label.levels or self.label.source_columns

    @property
    def is_path(self) -> bool:
        """Whether the label is a path of several levels."""
        return self.label.column is None and len(self.levels) > 1

    @cached_property
    def keys_asked(self) -> list[tuple[str, str, str]]:
        """What a product may hold when it is asked about, id first: kind, column, and name of the field."""
        ids = [] if self.id is None else [("id", self.id, self.id)]
        return [*ids, *((field.kind, field.column, field.name) for field in self.fields)]

    @cached_property
    def keys_read(self) -> list[str]:
        """Every key that a product's id and fields may stand under, each once."""
        return list(dict.fromkeys(key for _, *either in self.keys_asked for key in either))

    @cached_property
    def text_fields(self) -> list[str]:
        """Names of the fields of kind text."""
        return [field.name for field in self.fields if field.kind == "text"]

    @property
    def field_names(self) -> list[str]:
        """Names of all fields, in order."""
        return [field.name for field in self.fields]

    @cached_property
    def source_columns(self) -> list[str]:
        """Every column that is read from a source, each once."""
        columns = [] if self.id is None else [self.id]
        columns += [*self.label.source_columns, *(field.column for field in self.fields), *self.keep]
        return list(dict.fromkeys(columns))

    @property
    def list_columns(self) -> list[str]:
        """Those of source_columns that hold lists."""
        columns = [field.column for field in self.fields if field.kind == "ids"]
        return list(dict.fromkeys(columns + ([self.label.list_column] if self.label.list_column else [])))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, which works out for itself what this one has cached."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(copied).model_fields.keys():
            del copied.__dict__[name]
        return copied

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        if problems := disagreements(self):
            raise DisagreeingKeysError(problems)
        return self


def _check_pattern(pattern: str) -> None:
    """Refuse what either engine refuses: Polars decides rows, the validation suite uses Python's re."""
    import polars as pl

    try:
        re.compile(pattern)
        pl.Series([""]).str.contains(pattern)
    except (re.error, pl.exceptions.PolarsError) as error:
        said = re.search(r"^error: (.*)$", str(error), re.MULTILINE)
        why = said.group(1) if said else str(error).splitlines()[0]
        raise ValueError(f"not a regular expression that can be used: {why}") from None
