"""Great Expectations' own pages about a validation, made safe to open.

Its pages write cell values into tables without escaping them, so a product titled `<script>…` would run in them: values
are escaped before, and the lists of every failing row, which no page shows, are left out.
"""

from __future__ import annotations

import copy
import html
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["build"]

SITE = "docs"
MOST_CHARACTERS = 200
"""Of a value, in the pages' tables."""


def build(context: Any, suite: Any, result: Any, folder: Path) -> Path:
    """Write the site about `result` into `folder`; what an earlier call wrote there is replaced.

    Args:
        context: the Great Expectations context that holds `suite`.
        suite: what was asked.
        result: what came out, an ExpectationSuiteValidationResult; it is not changed.
        folder: where the pages go.

    Returns:
        The index page.
    """
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    for part in ("expectations", "validations", "static"):
        shutil.rmtree(folder / part, ignore_errors=True)
    context.add_data_docs_site(
        SITE,
        {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(folder.resolve()),
            },
            "site_section_builders": {section: {"view": _view("Page")} for section in ("expectations", "validations")},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder", "view": _view("IndexPage")},
        },
    )
    now = datetime.now(UTC)
    run = RunIdentifier(run_name=suite.name, run_time=now)
    shown = _shown(result)
    shown.meta |= {"run_id": run, "validation_time": now}
    key = ValidationResultIdentifier(ExpectationSuiteIdentifier(suite.name), run, "products")
    context.validation_results_store.store_validation_results(
        suite_validation_result=shown,
        suite_validation_result_identifier=key,
        expectation_suite_identifier=ExpectationSuiteIdentifier(suite.name),
    )
    context.build_data_docs(site_names=[SITE])
    _prune(folder / "static")
    return folder / "index.html"


def _view(name: str) -> dict[str, str]:
    return {"module_name": "expectations.page_views", "class_name": name}


def _shown(result: Any) -> Any:
    """A copy of `result` with escaped values and without the long lists."""
    whole = copy.copy(result)
    whole.meta = dict(result.meta)
    whole.results = []
    for one in result.results:
        part = copy.copy(one)
        part.result = {
            name: _escaped(value)
            for name, value in one.result.items()
            if name not in ("unexpected_list", "unexpected_index_list", "partial_unexpected_index_list")
        }
        whole.results.append(part)
    return whole


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return html.escape(value[:MOST_CHARACTERS] + ("…" if len(value) > MOST_CHARACTERS else ""))
    if isinstance(value, list):
        return [_escaped(one) for one in value]
    if isinstance(value, dict):
        return {name: _escaped(one) for name, one in value.items()}
    return value


def _prune(static: Path) -> None:
    """Drop the 4 MB of fonts and animations that come with every site; its pages only link the icon."""
    for file in static.rglob("*"):
        if file.is_file() and file.name != "favicon.ico":
            file.unlink()
    for folder in sorted((f for f in static.rglob("*") if f.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
