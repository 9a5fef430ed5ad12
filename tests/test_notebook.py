"""notebooks/treinamento.ipynb: it is kept without outputs, runs from top to bottom, and the API serves what it made."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from classifier.artifact import load
from tests.api_server import PROJECT, running, write_sources

NOTEBOOK = PROJECT / "notebooks" / "treinamento.ipynb"
REAL = PROJECT.parent / "shared" / "data" / "elo7" / "products.csv"
ROWS = 400
"""Enough for every step to have something to show, few enough for seconds."""
PATIENCE_S = 300


@pytest.fixture(scope="module")
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first products of the real file where it lies beside the project, else made-up ones in its format."""
    folder = tmp_path_factory.mktemp("elo7")
    if not REAL.exists():
        return write_sources(folder / "made")["elo7"]
    with REAL.open(encoding="utf-8") as whole:
        (folder / "products.csv").write_text("".join(islice(whole, ROWS + 1)), encoding="utf-8")
    return folder / "products.csv"


@pytest.fixture(scope="module")
def executed(notebook: Any, source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The notebook after a run from top to bottom in a kernel of its own, and the home that it wrote."""
    home = tmp_path_factory.mktemp("notebook") / "var"
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AISLE_", "PREFECT_"))}
    client = NotebookClient(
        nbformat.from_dict(notebook), timeout=PATIENCE_S, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    )
    client.execute(
        env=ours | {"AISLE_HOME": str(home), "ELO7_CSV": str(source), "PYTHONWARNINGS": "error::FutureWarning"}
    )
    return client.nb, home


def test_the_notebook_is_valid_and_kept_without_outputs(notebook: Any):
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert {cell.execution_count for cell in code} == {None}


def test_it_runs_from_top_to_bottom_and_shows_tables_and_plots(executed: tuple[Any, Path]):
    notebook, home = executed
    shown = [
        output["data"].get("text/html", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]
    assert sum("<svg" in html for html in shown) >= 4
    assert not any("&lt;" in html for html in shown), "markup is shown as text"
    assert sum("<table" in html for html in shown) >= 8
    assert sum('class="line"' in html for html in shown) == 2, "calibration and coverage are drawn as lines"
    assert (home / "models" / "elo7" / "v1" / "manifest.json").exists()
    assert not list((home / "staging").glob("elo7/*")), "both runs were ended"


def test_the_api_serves_the_model_that_it_exported(executed: tuple[Any, Path], tmp_path: Path):
    _, home = executed
    exported = load(home / "models" / "elo7" / "v1")
    titles = [{"title": "Lembrancinha de maternidade"}, {"title": "Quadro para sala"}, {"title": "Colar de prata"}]
    with running(home, tmp_path / "api.log", api_open="true") as server:
        answer = server.client.post("/v1/categorize", json={"products": titles})
        served = server.client.get("/v1/catalogs/elo7").json()["model"]
    assert answer.status_code == 200
    assert served["digest"] == exported.digest
    assert answer.json() == {"categories": [said["label"] for said in exported.predict_rows(titles)]}
