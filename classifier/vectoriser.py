"""A whole product as one sparse vector: every field of the catalogue, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from classifier.design import Design
from classifier.exact_field import ExactField
from classifier.fields import FieldVectoriser
from classifier.linear import Linear
from classifier.number_field import NumberField
from classifier.parts import Part
from classifier.text_field import TextField
from classifier.training import Layout
from classifier.written import Values
from core.errors import ColumnMissing

if TYPE_CHECKING:
    from catalogs.spec import FieldSpec
    from classifier.recipes import Recipe, RecipeParams

__all__ = ["ProductVectoriser", "field_vectoriser"]


def field_vectoriser(field: FieldSpec, params: RecipeParams) -> FieldVectoriser:
    """The vectoriser for a field's kind."""
    if field.kind == "text":
        return TextField(field.name, field.weight, params.words, params.subwords)
    if field.kind == "number":
        return NumberField(field.name, field.weight, field.bins)
    return ExactField(field.name, field.weight, params.words, fold_case=field.kind == "keyword")


class ProductVectoriser:
    """All fields of a catalogue.

    Args:
        fields: the catalogue's fields, in order.
        recipe: how the model is trained.
    """

    def __init__(self, fields: Sequence[FieldSpec], recipe: Recipe) -> None:
        self.reads = [field.name for field in fields]
        self.fields: Sequence[FieldVectoriser] = [field_vectoriser(field, recipe.params) for field in fields]

    def fit(self, frame: pl.DataFrame) -> Design:
        """Learn from training rows; the design matrix (rows × features)."""
        return Design([block for field in self.fields for block in field.fit(frame[field.name])])

    def weigh(self, linear: Linear) -> None:
        """Take the fitted coefficients."""
        start = 0
        for field in self.fields:
            own = []
            for width in field.widths:
                own.append(linear.coefficients[start : start + width])
                start += width
            field.weigh(own)

    def parts(self, columns: Mapping[str, Values]) -> list[Part]:
        """Tokens of some products with their weights; `columns` are field → values."""
        return [part for field in self.fields for part in field.parts(columns[field.name])]

    @property
    def layout(self) -> Layout:
        """How the columns of the design matrix belong together."""
        ends = np.cumsum([sum(field.widths) for field in self.fields])
        droppable = [
            np.full(width, droppable, dtype=bool)
            for field in self.fields
            for width, droppable in zip(field.widths, field.droppable, strict=True)
        ]
        lengths = np.array([field.weight for field in self.fields])
        return Layout(ends, np.concatenate(droppable), lengths)

    def check(self, frame: pl.DataFrame) -> None:
        """Refuse products without the model's fields.

        Raises:
            ColumnMissing: a field is not there.
        """
        missing = [name for name in self.reads if name not in frame.columns]
        if missing:
            raise ColumnMissing(
                f"the model reads {', '.join(missing)}, which these products do not have",
                hint="normalise the products with the model's own catalogue first",
            )
