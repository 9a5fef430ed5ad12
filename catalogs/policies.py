"""What a catalogue asks of its models and its data: when to accept, promote and retrain, and what is called drift."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "AcceptSpec",
    "DriftKind",
    "DriftMethod",
    "DriftSpec",
    "FreshnessSpec",
    "GateSpec",
    "HoldoutSpec",
    "Part",
    "RetrainSpec",
]

DriftKind = Literal["text", "keyword", "ids", "number", "label", "confidence"]
# Effect sizes only: p-values say "drift" for everything once there are 100,000 rows.
DriftMethod = Literal["jensenshannon", "hellinger", "psi", "wasserstein"]
Share = Annotated[float, Field(gt=0, lt=1)]


class Part(BaseModel):
    """A table of a TOML file: frozen, and no key that is not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AcceptSpec(Part):
    """When a predicted label is good enough to use unseen: precision to reach, and how sure to be of it."""

    precision_target: Share = 0.98
    confidence_level: Share = 0.95
    review_all: bool = False


class GateSpec(Part):
    """What a challenger may lose against the champion, on hold-out rows that neither has seen.

    Attributes:
        max_loss: macro F1. A paired bootstrap has to show, at 95 %, that no more is lost; 0: that some is won.
        min_label_rows: a label that so many of the rows have is large: its F1 has a check of its own.
        max_label_loss: F1 of a large label, shown in the same way.
        max_calibration_loss: by how much the calibration error may be larger.
        max_slowdown: how many times the champion's time for the same products it may take.
        ignored_slowdown_us: microseconds a product; by so many it may be slower whatever the ratio.
        max_growth: how many times the bytes of the champion's artifact its own may have.
        ignored_size_mib: an artifact of up to so many MiB passes whatever the ratio.
    """

    max_loss: Annotated[float, Field(ge=0, lt=1)] = 0.02
    min_label_rows: Annotated[int, Field(ge=1)] = 100
    max_label_loss: Annotated[float, Field(ge=0, lt=1)] = 0.05
    max_calibration_loss: Annotated[float, Field(ge=0, lt=1)] = 0.02
    max_slowdown: Annotated[float, Field(ge=1)] = 2.0
    ignored_slowdown_us: Annotated[float, Field(ge=0)] = 10.0
    max_growth: Annotated[float, Field(ge=1)] = 2.0
    ignored_size_mib: Annotated[float, Field(ge=0)] = 64.0


class HoldoutSpec(Part):
    """Share of the products that is never trained on."""

    share: Annotated[float, Field(gt=0, le=0.5)] = 0.2


class DriftSpec(Part):
    """How drift is measured, by kind of field, label and confidence.

    Attributes:
        min_rows: fewer rows on either side give no verdict.
        methods: distance by kind. Numbers use Wasserstein: PSI and Jensen-Shannon are blind on skewed prices.
        thresholds: distance from which on it is called drift.
    """

    min_rows: Annotated[int, Field(ge=1)] = 200
    methods: dict[DriftKind, DriftMethod] = {}
    thresholds: dict[DriftKind, Annotated[float, Field(gt=0)]] = {}

    @model_validator(mode="after")
    def _fill_defaults(self) -> Self:
        methods: dict[DriftKind, DriftMethod] = {
            "text": "jensenshannon",
            "keyword": "jensenshannon",
            "ids": "jensenshannon",
            "number": "wasserstein",
            "label": "jensenshannon",
            "confidence": "wasserstein",
        }
        object.__setattr__(self, "methods", {**methods, **self.methods})
        object.__setattr__(self, "thresholds", {**dict.fromkeys(methods, 0.1), **self.thresholds})
        return self


class RetrainSpec(Part):
    """When a new model is wanted. Any of the first four is reason enough; the last two hold it back.

    Attributes:
        drift_batches: drift with so many batches one after another; 0: drift alone is no reason.
        max_review_share: a larger share of the current predictions is in review.
        max_accuracy_loss: products whose label the model had not learnt are right less often than their confidences
            say, by more than this and by more than chance.
        max_age_days: the champion was trained longer ago.
        min_new_labels: labelled products that no training has seen yet: with fewer there is nothing to learn.
        pause_days: no training within so many days of the last, whatever became of it.
    """

    drift_batches: Annotated[int, Field(ge=0)] = 3
    max_review_share: Share | None = None
    max_accuracy_loss: Share | None = 0.05
    max_age_days: Annotated[float, Field(gt=0)] | None = None
    min_new_labels: Annotated[int, Field(ge=1)] = 1
    pause_days: Annotated[float, Field(ge=0)] = 1.0


class FreshnessSpec(Part):
    """How old the data may become.

    Attributes:
        max_days: days without a new or different product after which the data is called stale; None: never.
    """

    max_days: Annotated[float, Field(gt=0)] | None = None
