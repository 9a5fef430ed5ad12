"""The columns of every kind of table."""

from __future__ import annotations

from typing import Any

import polars as pl

from catalogs.known_lines import LINE_DIGEST

__all__ = ["COLUMNS", "PATH", "PREDICTION", "REASONS", "TIME"]

PATH = pl.List(pl.String)
REASONS = pl.List(pl.Struct({"token": pl.String, "field": pl.String, "weight": pl.Float64}))
TIME = pl.Datetime("us", "UTC")

PREDICTION: dict[str, Any] = {
    "label": pl.String,
    "label_path": PATH,
    "confidence": pl.Float64,
    "confidence_path": pl.List(pl.Float64),
    "runner_up": pl.String,
    "reasons": REASONS,
    "model_version": pl.String,
    "model_digest": pl.String,
    "scored_run_id": pl.String,
    "scored_at": TIME,
}
"""What a model said of a product."""

COLUMNS: dict[str, dict[str, Any]] = {
    # Every version of every product ever stored, append-only; a catalogue adds its own fields and kept columns.
    "products": {
        "seq": pl.Int64,
        "product_id": pl.String,
        "known_path": PATH,
        "text_hash": pl.String,
        "feature_hash": pl.String,
        "row_hash": pl.String,
        "source_file": pl.String,
        "source_row": pl.Int64,
        "run_id": pl.String,
        "stored_at": TIME,
    },
    # One row a current product: which version of it is current, and what was last said of it.
    "state": {
        "product_id": pl.String,
        "seq": pl.Int64,
        "first_seq": pl.Int64,
        "known_path": PATH,
        "text_hash": pl.String,
        "feature_hash": pl.String,
        "row_hash": pl.String,
        **PREDICTION,
    },
    # Every prediction ever made, append-only.
    "scores": {"product_id": pl.String, "seq": pl.Int64, "feature_hash": pl.String, **PREDICTION},
    "rejects": {
        "run_id": pl.String,
        "source": pl.String,
        "line": pl.Int64,
        "raw": pl.String,
        "reasons": pl.List(pl.String),
        "rejected_at": TIME,
    },
    "conflicts": {
        "run_id": pl.String,
        "product_id": pl.String,
        "source": pl.String,
        "line": pl.Int64,
        "kept_source": pl.String,
        "kept_line": pl.Int64,
        "known_path": PATH,
        "kept_path": PATH,
        "differs": pl.List(pl.String),
        "row": pl.String,
    },
    # Of which line of a source the current form of a product was made: met again, it need not be read.
    "lines": {"seq": pl.Int64, **LINE_DIGEST},
    "removed": {"run_id": pl.String, "product_id": pl.String, "seq": pl.Int64, "removed_at": TIME},
    # Every label that a person gave, append-only, with what the model said then; the newest of a product counts.
    "labels": {
        "product_id": pl.String,
        "label_path": PATH,
        "labelled_by": pl.String,
        "why": pl.String,
        "labelled_at": TIME,
        "run_id": pl.String,
        "source_file": pl.String,
        "source_digest": pl.String,
        "predicted_path": PATH,
        "confidence": pl.Float64,
        "model_version": pl.String,
    },
    "drift": {
        "run_id": pl.String,
        "measured_at": TIME,
        "comparison": pl.String,
        "metric": pl.String,
        "field": pl.String,
        "method": pl.String,
        "score": pl.Float64,
        "threshold": pl.Float64,
        "drifted": pl.Boolean,
        "n_reference": pl.Int64,
        "n_current": pl.Int64,
        "seed": pl.Int64,
        "model_version": pl.String,
    },
    # Each rule of the policy on retraining, as it was applied; `wanted` is the decision of all of them together.
    "retraining": {
        "run_id": pl.String,
        "decided_at": TIME,
        "model_version": pl.String,
        "rule": pl.String,
        "value": pl.Float64,
        "limit": pl.Float64,
        "met": pl.Boolean,
        "why": pl.String,
        "wanted": pl.Boolean,
    },
    # What happened to each model, append-only: trained, promoted, refused, rejected, rolled_back.
    "models": {
        "noted_at": TIME,
        "event": pl.String,
        "version": pl.String,
        "digest": pl.String,
        "recipe": pl.String,
        "params": pl.String,
        "data_digest": pl.String,
        "rows": pl.Int64,
        "holdout_rows": pl.Int64,
        "accuracy": pl.Float64,
        "macro_f1": pl.Float64,
        "weighted_f1": pl.Float64,
        "metrics": pl.String,
        "train_s": pl.Float64,
        "why": pl.String,
        "decided_by": pl.String,
        "run_id": pl.String,
    },
    # Every check of a challenger against the champion, append-only.
    "gate": {
        "run_id": pl.String,
        "judged_at": TIME,
        "model_version": pl.String,
        "champion_version": pl.String,
        "place": pl.Int64,
        "name": pl.String,
        "label": pl.String,
        "title": pl.String,
        "rows": pl.Int64,
        "challenger": pl.Float64,
        "champion": pl.Float64,
        "difference": pl.Float64,
        "low": pl.Float64,
        "threshold": pl.Float64,
        "passed": pl.Boolean,
        "said": pl.String,
        "seed": pl.Int64,
    },
    # Every recipe that a search tried out, append-only: a trial makes no model.
    "trials": {
        "run_id": pl.String,
        "trial": pl.Int64,
        "recipe": pl.String,
        "params": pl.String,
        "tried": pl.String,
        "data_digest": pl.String,
        "rows": pl.Int64,
        "folds": pl.Int64,
        "seed": pl.Int64,
        "accuracy": pl.Float64,
        "macro_f1": pl.Float64,
        "weighted_f1": pl.Float64,
        "by_fold": pl.List(pl.Float64),
        "fit_s": pl.Float64,
        "tried_at": TIME,
    },
    # Per model and label, and node above labels that are paths, from which confidence on a prediction is accepted;
    # null: never.
    "policy": {
        "model_version": pl.String,
        "label": pl.String,
        "level": pl.Int64,
        "threshold": pl.Float64,
        "path_thresholds": pl.List(pl.Float64),
        "precision_target": pl.Float64,
        "support": pl.Int64,
        "precision": pl.Float64,
        "coverage": pl.Float64,
        "reason": pl.String,
        "review_all": pl.Boolean,
        "set_at": TIME,
        "run_id": pl.String,
    },
    "runs": {
        "run_id": pl.String,
        "flow": pl.String,
        "started_at": TIME,
        "finished_at": TIME,
        "source": pl.List(pl.String),
        "read": pl.Int64,
        "stored": pl.Int64,
        "unchanged": pl.Int64,
        "repeated": pl.Int64,
        "rejected": pl.Int64,
        "removed": pl.Int64,
        "scored": pl.Int64,
        "model_version": pl.String,
        "tables": pl.String,
        # sha256 of the files that it read.
        "source_digest": pl.String,
        # sha256 of the files that its compaction wrote, as JSON by kind/name; others have it in their names.
        "digests": pl.String,
    },
}
