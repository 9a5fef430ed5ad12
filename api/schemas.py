"""Shapes of our own routes, for the OpenAPI document and for the clients that are generated from it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "EXAMPLE_BODY",
    "CatalogDetail",
    "CatalogList",
    "Prediction",
    "PredictionBody",
    "Predictions",
    "StoredPrediction",
]

EXAMPLE_BODY: dict[str, Any] = {
    "products": [{"title": "Steel watering can, 5 litres"}, {"title": "Wooden train set", "price": "24.90"}]
}


class Product(BaseModel):
    """A product, keyed as the rows of the catalogue's files. At least one text field must say something."""

    model_config = ConfigDict(extra="allow")


class PredictionBody(BaseModel):
    """Products to label; the bare list is accepted as well."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_BODY]})

    products: list[Product] = Field(min_length=1)


class Reason(BaseModel):
    """A token that speaks for the label."""

    token: str
    field: str = Field(description="The field that it stands in.")
    weight: float = Field(description="What it adds to the label's score beyond the runner-up's.")


class Prediction(BaseModel):
    """What the model says of a product."""

    product_id: str | None = Field(description="As it was given; a digest of the text where the catalogue has no ids.")
    label: str = Field(description="The label; a path is joined by ` > `, and stops at the deepest accepted level.")
    label_path: list[str] = Field(description="The label, an entry a level.")
    confidence: float = Field(ge=0, le=1, description="Calibrated: of labels given with .9, nine in ten are right.")
    predicted_path: list[str] = Field(description="The whole path that the model gives, accepted or not.")
    depth: int = Field(ge=0, description="Levels that are accepted; 0 is a suggestion for review.")
    decision: Literal["accepted", "review"] = Field(description="Whether it is good enough to use unseen.")
    confidence_path: list[float] = Field(description="Confidence at each level of predicted_path.")
    runner_up: str | None = Field(description="The second-best label.")
    runner_up_confidence: float | None
    reasons: list[Reason] = Field(description="The strongest tokens, strongest first.")
    model_version: str


class Predictions(BaseModel):
    """Answers in the order of the products."""

    catalog: str
    model_version: str
    model_digest: str
    predictions: list[Prediction]


class StoredPrediction(BaseModel):
    """A row of the SQL view `predictions`."""

    model_config = ConfigDict(extra="allow")

    catalog: str
    product_id: str
    label: str
    label_path: list[str]
    known_label: str | None = Field(description="What the source said, where it said something.")
    confidence: float | None
    decision: Literal["accepted", "review"]
    depth: int
    predicted_path: list[str]
    confidence_path: list[float] | None
    decided_by: Literal["model", "person"]
    runner_up: str | None
    reasons: list[Reason] | None
    model_version: str
    model_digest: str
    run_id: str
    scored_at: datetime


class CatalogRow(BaseModel):
    """A catalogue, in short."""

    name: str
    title: str | None
    contract: str | None = Field(description="The outside contract that it answers as well.")
    model_version: str | None = Field(description="The champion that answers; null where there is none yet.")


class CatalogList(BaseModel):
    """All catalogues."""

    catalogs: list[CatalogRow]


class FieldDetail(BaseModel):
    """A field that the model reads."""

    name: str
    column: str = Field(description="Its key in a product.")
    kind: Literal["text", "keyword", "ids", "number"]


class LabelPolicy(BaseModel):
    """From which confidence on a label, or a node above labels that are paths, is accepted unseen."""

    label: str
    level: int | None = Field(description="Of a label path: 1 is the first.")
    threshold: float | None = Field(description="Null: never.")
    precision: float | None = Field(description="Of the training rows at the threshold; null where there is none.")
    coverage: float | None = Field(description="Share of the label's training rows at the threshold or above.")
    reason: str | None
    review_all: bool | None


class ModelDetail(BaseModel):
    """The champion."""

    version: str
    digest: str
    recipe: str
    training_rows: int
    metrics: dict[str, float | None] = Field(description="On the hold-out.")
    policy: list[LabelPolicy]


class ProblemNote(BaseModel):
    """Why the newest champion is not served."""

    detail: str
    hint: str | None


class CatalogDetail(BaseModel):
    """A catalogue."""

    name: str
    title: str
    licence: str
    contract: str | None
    id: str | None = Field(description="Key of the product's id; null where the id is a digest of the text.")
    levels: list[str] = Field(description="Names of the label's levels.")
    fields: list[FieldDetail]
    labels: list[str] | None
    model: ModelDetail | None
    problem: ProblemNote | None
