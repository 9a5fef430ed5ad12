"""What every test may use: a home of its own and, where it lies beside the project, real product data."""

from __future__ import annotations

import gzip
import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aisle.cli import run
from catalogs.demo import generate
from core.settings import get_settings
from tests.commands import ROWS
from tests.s3 import serving
from tests.stored import SHELVES
from warehouse.home import get_home
from warehouse.publish import publish

if TYPE_CHECKING:
    from tasks.results import RunResult

PROJECT = Path(__file__).resolve().parent.parent
SHARED_DATA = PROJECT.parent / "shared" / "data"
NIGHT_ROWS = 3_000


def can_build() -> bool:
    """Whether there is what scripts/install needs to build the library of the compiled loops."""
    return shutil.which("g++") is not None and Path(sysconfig.get_path("include"), "Python.h").exists()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real sets beside the project; tests that need them skip loudly where they are absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data is absent: {SHARED_DATA.relative_to(PROJECT.parent)} is not beside the project")
    return SHARED_DATA


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh AISLE_HOME, with no other AISLE_* setting."""
    for name in [name for name in os.environ if name.startswith("AISLE_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "var"
    monkeypatch.setenv("AISLE_HOME", str(folder))
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


@pytest.fixture
def aisle(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command line in this process; gives exit code, stdout and stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def shelves(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The catalogues of tests/catalogs beside the built-in ones, and an empty home; gives their folder."""
    monkeypatch.setenv("AISLE_CATALOGS", str(SHELVES))
    get_settings.cache_clear()
    return SHELVES


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which the demo shop's first day was run; gives the day's file."""
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(("AISLE_", "PREFECT_"))]:
            environment.delenv(name)
        environment.setenv("AISLE_HOME", str(folder / "var"))
        get_settings.cache_clear()
        source = generate(folder, ROWS)
        assert run(["run", "demo", str(source)]) == 0
        yield source
    get_settings.cache_clear()


@dataclass(frozen=True)
class Night:
    """A night that was run: the home that it left, the source, and what it gave."""

    home: Path
    source: str
    result: RunResult


@pytest.fixture(scope="session")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """The first night of the demo shop, in a home that is to be copied."""
    from flows.nightly import nightly  # Prefect, which most tests need not wait for

    folder = tmp_path_factory.mktemp("first")
    source = str(generate(folder, rows=NIGHT_ROWS, seed=1, day=0))
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("AISLE_")]:
            environment.delenv(name)
        environment.setenv("AISLE_HOME", str(folder / "var"))
        get_settings.cache_clear()
        night = Night(folder / "var", source, nightly.fn("demo", [source]))
    get_settings.cache_clear()
    return night


@pytest.fixture
def opened(first_night: Night, home: Path) -> Path:
    """A home of the test's own in which the first night is over."""
    shutil.copytree(first_night.home, home)
    publish(get_home())
    return home


@pytest.fixture
def write(tmp_path: Path, home: Path) -> Callable[[str, str | bytes], Path]:
    """Writes a file, gzipped if its name ends so; gives its path."""

    def _write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return _write


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """An S3 server for the tests of a file, which AWS_* name."""
    with pytest.MonkeyPatch.context() as environment, serving(environment) as address:
        yield address
    get_settings.cache_clear()
