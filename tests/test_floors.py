"""The floors of the house hold, and a contract that is broken is noticed."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


def packages() -> list[str]:
    config = configparser.ConfigParser()
    config.read(PROJECT / ".importlinter")
    return config["importlinter"]["root_packages"].split()


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    return subprocess.run(
        [*command, "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_imports_go_downwards_only():
    result = lint_imports(PROJECT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_package_of_the_project_has_a_floor():
    found = {path.parent.name for path in PROJECT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert found == set(packages())


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("core/settings.py", "import catalogs.spec", "Imports go downwards only"),
        ("classifier/__init__.py", "def later():\n    import warehouse.home", "Imports go downwards only"),
        ("reports/__init__.py", "import expectations.rules", "Imports go downwards only"),
        ("api/__init__.py", "import prefect", "The API needs no orchestration"),
        ("warehouse/__init__.py", "import core.orchestration\nimport api", "Imports go downwards only"),
        ("api/__init__.py", "import core.orchestration", "The API needs no orchestration"),
        ("classifier/__init__.py", "import fastapi", "The classifier knows neither"),
        ("warehouse/__init__.py", "from prefect import flow", "Only flows, tasks and core.orchestration"),
        ("tasks/__init__.py", "import great_expectations", "Only expectations imports"),
        ("flows/__init__.py", "import evidently", "Only reports imports"),
        ("classifier/__init__.py", "import mlflow", "Only tasks imports"),
        ("tasks/__init__.py", "import distributed", "Only core imports Dask"),
    ],
)
def test_an_import_that_breaks_a_contract_is_caught(tmp_path: Path, module: str, statement: str, contract: str):
    shutil.copy(PROJECT / ".importlinter", tmp_path)
    for package in packages():
        shutil.copytree(PROJECT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / module).open("a") as file:
        file.write(f"\n{statement}\n")

    result = lint_imports(tmp_path)

    assert result.returncode == 1, result.stdout + result.stderr
    broken = [line for line in result.stdout.splitlines() if " BROKEN" in line]
    assert any(line.startswith(contract) for line in broken), result.stdout
