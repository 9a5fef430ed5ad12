"""A real API server on loopback, over a home that the real flows made, for tests of what the API promises."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from catalogs import demo
from core.settings import get_settings

PROJECT = Path(__file__).resolve().parent.parent
START_S = 60.0

Row = dict[str, Any]

ELO7 = {
    "Lembrancinhas": "lembrancinha maternidade chá caixinha mini",
    "Decoração": "quadro parede sala almofada vaso",
    "Bebê": "enxoval bebê manta fralda body",
    "Papel e Cia": "convite papel caderno adesivo etiqueta",
    "Bijuterias e Jóias": "colar brinco pulseira anel prata",
}
ASOS = {"Floral": "floral flower rose bloom petal", "Stripe": "stripe striped line nautical breton"}
NEWSGROUPS = {"hockey": "puck goalie ice nhl skate", "space": "orbit nasa shuttle moon launch"}
AMAZON = {
    "Books": "novel paperback author chapter story",
    "Pet Supplies": "dog cat leash kibble litter",
    "Video Games": "console controller game level xbox",
}


def titles(words: dict[str, str], rows: int, seed: int) -> Iterator[tuple[str, str]]:
    """Label and title of made-up products; every tenth speaks of another label."""
    dice = random.Random(seed)
    labels = sorted(words)
    for number in range(rows):
        label = labels[number % len(labels)]
        said = dice.choice(labels) if dice.random() < 0.1 else label
        yield label, " ".join([*dice.sample(words[said].split(), 2), f"item{dice.randrange(rows)}"])


def write_sources(folder: Path) -> dict[str, Path]:
    """A small source of each catalogue that the API is asked about, in its published format."""
    folder.mkdir(parents=True)
    found = {"demo": demo.generate(folder / "demo", rows=1_500, seed=7)}
    found["elo7"] = folder / "elo7.csv"
    with found["elo7"].open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["product_id", "title", "concatenated_tags", "price", "category"])
        for number, (label, title) in enumerate(titles(ELO7, 300, 1)):
            out.writerow([number, title, title.split()[0], round(5 + number / 7, 2), label])
    found["asos"] = folder / "asos.tsv"
    lines = [f"{n}\t{title}\tDress; {title}\t{label}" for n, (label, title) in enumerate(titles(ASOS, 200, 2))]
    found["asos"].write_text("\n".join(["productIdentifier\tname\tdescription\tpattern", *lines]), encoding="utf-8")
    found["newsgroups"] = folder / "newsgroups.jsonl"
    _write_jsonl(found["newsgroups"], [{"text": text, "label": label} for label, text in titles(NEWSGROUPS, 200, 3)])
    found["amazon"] = folder / "amazon.jsonl"
    rows = [
        {
            "asin": f"B{n:09d}",
            "title": text,
            "description": [text],
            "main_cat": label,
            "category": [label],
            "price": "$3",
        }
        for n, (label, text) in enumerate(titles(AMAZON, 300, 4))
    ]
    _write_jsonl(found["amazon"], rows)
    return found


def _write_jsonl(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@contextmanager
def living_in(home: Path) -> Iterator[None]:
    """This process's AISLE_HOME, for the time being, with no other AISLE_* setting."""
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("AISLE_")}
    os.environ["AISLE_HOME"] = str(home)
    get_settings.cache_clear()
    try:
        yield
    finally:
        os.environ.pop("AISLE_HOME")
        os.environ.update(before)
        get_settings.cache_clear()


def fill(home: Path, sources: dict[str, Path]) -> None:
    """Ingest, train and score with the flows that people run."""
    from flows.ingest import ingest
    from flows.score import score
    from flows.train import train

    with living_in(home):
        for catalog, source in sources.items():
            ingest.fn(catalog, [str(source)])
            train.fn(catalog)
            score.fn(catalog)


class Server:
    """A server process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=30)

    def lines(self) -> list[Row]:
        """What it has logged as JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def line_of(self, request_id: str) -> Row:
        """What it has logged of a request: written once the answer has been sent, so it may take a moment."""
        until = time.monotonic() + 10
        while True:
            found = [line for line in self.lines() if line.get("request_id") == request_id]
            if found or time.monotonic() > until:
                return found[0]
            time.sleep(0.02)

    def stop(self) -> int:
        """Ask it to end, and wait until it has."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    home: Path | str,
    log: Path,
    *,
    app: str = "api.api:app",
    folder: Path = PROJECT,
    host: str = "127.0.0.1",
    command: list[str] | None = None,
    python: str | Path = sys.executable,
    **settings: str,
) -> Iterator[Server]:
    """A server over `home`, stopped in the end. `settings` are AISLE_* variables, without the prefix."""
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AISLE_", "PROMETHEUS_"))}
    own = {f"AISLE_{name.upper()}": value for name, value in settings.items()}
    start = command or ["-m", "uvicorn", app, "--no-access-log"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [python, *start, "--host", host, "--port", str(port)],
            cwd=folder,
            env={**clean, "AISLE_HOME": str(home), **own},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    server = Server(process, port, log)
    try:
        wait_for(lambda: _answers(server), START_S, log)
        yield server
    finally:
        if process.poll() is None:
            server.stop()


def wait_for(happened: Callable[[], bool], seconds: float, log: Path | None = None) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise AssertionError(f"not after {seconds} s" + (f":\n{log.read_text()[-3000:]}" if log else ""))
        time.sleep(0.05)


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def _answers(server: Server) -> bool:
    if server.process.poll() is not None:
        raise AssertionError(f"the server ended:\n{server.log.read_text()[-3000:]}")
    try:
        return server.client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def shared_home(base: Path) -> Path:
    """A home with a champion of every catalogue of `write_sources`, made once for all test files and processes.

    Args:
        base: pytest's base folder (`tmp_path_factory.getbasetemp()`); xdist's processes have theirs side by side.
    """
    import fcntl

    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home, made = shared / "api-home", shared / "api-home-made"
    with (shared / "api-home.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            fill(home, write_sources(shared / "api-sources"))
            made.touch()
    return home
