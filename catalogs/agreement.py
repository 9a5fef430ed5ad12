"""Whether the keys of a catalogue agree with each other; each key by itself is checked in spec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from catalogs.product import RAW, SOURCE_ROW
from core.errors import did_you_mean

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["RESERVED_NAMES", "disagreements"]

# Columns that every stored product or its views already have.
RESERVED_NAMES = frozenset(
    {
        "source_file",
        "source_row",
        "product_id",
        "known_path",
        "known_label",
        "text_hash",
        "feature_hash",
        "row_hash",
        "raw",
        "catalog",
        "run_id",
        "state",
        "first_seen",
        "last_seen",
        "seq",
        "n",
        "first_seq",
        "stored_at",
        "label",
        "label_path",
        "confidence",
        "confidence_path",
        "predicted_path",
        "depth",
        "decision",
        "decided_by",
        "runner_up",
        "reasons",
        "model_version",
        "model_digest",
        "scored_run_id",
        "scored_at",
    }
)


def disagreements(spec: CatalogSpec) -> list[tuple[str, str]]:
    """Every problem between keys, as (key, what is wrong) pairs."""
    return [*_field_problems(spec), *_name_problems(spec), *_rule_problems(spec)]


def _field_problems(spec: CatalogSpec) -> Iterator[tuple[str, str]]:
    label_columns = set(spec.label.source_columns)
    for position, field in enumerate(spec.fields):
        key = f"fields[{position}].column"
        if field.column in spec.forbidden:
            yield key, f"'{field.column}' is forbidden: the model must not read it"
        if field.column in label_columns:
            yield key, f"'{field.column}' holds the label: a model that reads it has nothing to learn"
    for position, column in enumerate(spec.keep):
        if column in spec.forbidden:
            yield f"keep[{position}]", f"'{column}' is forbidden"
    for column in spec.label.source_columns:
        if column in spec.forbidden:
            yield "label", f"'{column}' is forbidden"
    for column in {RAW, SOURCE_ROW} & set(spec.source_columns):
        yield "the file", f"a source column '{column}' cannot be read: Aisle keeps the raw row and its number there"
    if not spec.text_fields:
        yield "fields", "at least one field of kind text is needed"


def _name_problems(spec: CatalogSpec) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    names = [(f"fields[{i}].name", field.name) for i, field in enumerate(spec.fields)]
    names += [(f"keep[{i}]", column) for i, column in enumerate(spec.keep)]
    for key, name in names:
        folded = name.lower()  # SQL does not tell Title from title
        if folded in RESERVED_NAMES:
            yield key, f"'{name}' is a column of every product: choose another name"
        if folded in seen:
            yield key, f"'{name}' is already used by {seen[folded]}"
        seen[folded] = key


def _rule_problems(spec: CatalogSpec) -> Iterator[tuple[str, str]]:
    kinds: dict[str, str] = {"product_id": "keyword", **dict.fromkeys(spec.keep, "keyword")}
    kinds |= {field.name: field.kind for field in spec.fields}
    fitting = {"in_set": {"text", "keyword"}, "matches": {"text", "keyword"}, "not_matches": {"text", "keyword"}}
    fitting |= {"between": {"number"}, "length_between": {"text", "keyword", "ids"}}
    for position, rule in enumerate(spec.expectations):
        kind = kinds.get(rule.column)
        if kind is None:
            text = f"'{rule.column}' is neither field nor kept column; {did_you_mean(rule.column, kinds)}"
            yield f"expectations[{position}].column", text
        elif kind not in fitting.get(rule.rule, {kind}):
            yield f"expectations[{position}].rule", f"{rule.rule} does not fit '{rule.column}', which is {kind}"
