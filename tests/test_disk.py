"""A disk that is full, and a home that may only be read: named errors, and nothing lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalogs.demo import generate
from core.errors import DiskFull, HomeUnusable
from flows.ingest import ingest
from flows.nightly import nightly
from flows.score import score
from flows.train import train
from warehouse.home import get_home
from warehouse.publish import publish
from warehouse.query import query

ROWS = 400
DISK_KIB = 60 * 1024
KIB = 1024

VIEWS = ("products", "predictions", "rejects", "conflicts", "models", "runs", "conservation")


@pytest.fixture
def disk(home: Path) -> Iterator[Path]:
    """A home on a small disk of its own, in which the demo shop's first day was run."""
    home.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "tmpfs", str(home)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here, so a full one is NOT tested: {mounted.stderr.strip()}")
    try:
        nightly.fn("demo", [str(generate(home.parent / "source", ROWS))])
        yield home
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)


def shown() -> dict[str, list[dict[str, object]]]:
    return {view: query(get_home(), f"SELECT * FROM {view} ORDER BY ALL").as_dicts() for view in VIEWS}


def fill(disk: Path, but_kib: int) -> Path:
    """Fill a disk but for so much."""
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with filler.open("wb") as file:
        file.write(b"\0" * max(0, free - but_kib * KIB))
    return filler


def error_of(work: Callable[[], None]) -> Exception | None:
    try:
        work()
    except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
        return error
    return None


def tomorrow(disk: Path) -> None:
    ingest.fn("demo", [str(generate(disk.parent / "source", ROWS, day=1))])


def rescore(disk: Path) -> None:
    train.fn("demo", promote=True)
    score.fn("demo")


@pytest.mark.parametrize("work", [tomorrow, rescore])
def test_a_full_disk_is_named_and_nothing_is_lost(disk: Path, work: Callable[[Path], None]) -> None:
    """At every fill level at which it fails; it goes on once there is room."""
    before, refused, free = shown(), 0, 0
    while True:
        filler = fill(disk, free)
        failed = error_of(lambda: work(disk))
        filler.unlink()
        if failed is None:
            break
        assert isinstance(failed, DiskFull), f"{free} KiB: {failed!r}"
        assert failed.hint
        refused += 1
        if work is tomorrow:
            assert shown() == before, f"{free} KiB"
        free = free * 2 or 16
    assert refused > 3
    score.fn("demo")
    now = shown()
    assert all(row["balanced"] for row in now["conservation"])
    assert len(now["products"]) >= len(before["products"])
    assert len(now["predictions"]) == len(now["products"])


def test_a_home_that_may_only_be_read_is_named_and_can_be_read(disk: Path) -> None:
    before = shown()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        for work in (tomorrow, rescore, lambda _: publish(get_home())):
            with pytest.raises(HomeUnusable, match="AISLE_HOME"):
                work(disk)
        assert shown() == before
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    tomorrow(disk)
