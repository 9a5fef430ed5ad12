"""Step: where products lie by their words, as monitoring will want to know."""

from __future__ import annotations

from catalogs import registry
from classifier.embedding import Embedding, fit_embedding
from core.orchestration import step
from core.settings import get_settings
from tasks.split_rows import Split
from warehouse.runs import joined


@step("embed products")
def embed_products(run_id: str, split: Split) -> Embedding | None:
    """Fit on the training products; None where they have no text, or share no words."""
    spec = registry.load(joined(run_id).catalog)
    return fit_embedding(split.train, spec.text_fields, get_settings().seed) if spec.text_fields else None
