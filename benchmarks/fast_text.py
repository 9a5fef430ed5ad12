"""The rival fastText, by its command (Debian package fasttext), with word pairs; predicts in one process a core."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import CORES
from benchmarks.measure import Work
from benchmarks.plain import read
from benchmarks.products import Columns

__all__ = ["installed", "predict", "train"]

_LABEL = "__label__"


def installed() -> bool:
    """Whether the command is there."""
    return shutil.which("fasttext") is not None


def train(source: str, columns: dict[str, Any], rows: int) -> Work:
    """Read, split, `supervised`, and predict the held-out part."""

    def work() -> dict[str, Any]:
        folder = Path(source).parent
        texts, labels = read(Path(source), Columns(**columns), "words", rows)
        held = [number % 5 == 0 for number in range(len(labels))]
        _write(folder / "train.txt", texts, labels, [not own for own in held])
        _write(folder / "held.txt", texts, labels, held)
        peak = _supervised(folder / "train.txt", folder / "fasttext")
        answers, own_peak = _answers(folder / "fasttext.bin", [folder / "held.txt"])
        truth = [_name(label) for label, out in zip(labels, held, strict=True) if out]
        (folder / "fasttext.bin").unlink()
        return {"rows": len(labels), "peak_mib": max(peak, own_peak), **_quality(truth, answers)}

    return work


def predict(train_on: str, source: str, columns: dict[str, Any], rows: int) -> Work:
    """Train to get ready; then `predict-prob` on halves of the file, one process a core."""
    folder = Path(source).parent
    own = Columns(**columns)
    texts, labels = read(Path(train_on), own, "words", rows)
    _write(folder / "train.txt", texts, labels, [True] * len(labels))
    _supervised(folder / "train.txt", folder / "fasttext")
    texts, labels = read(Path(source), own, "words", rows)
    halves = []
    for part in range(CORES):
        halves.append(folder / f"half-{part}.txt")
        _write(halves[-1], texts, labels, [number * CORES // len(labels) == part for number in range(len(labels))])
    (folder / "one.txt").write_text(f"{_LABEL}none a text\n")
    started = time.perf_counter()
    _answers(folder / "fasttext.bin", [folder / "one.txt"] * CORES)
    load_s = time.perf_counter() - started
    truth = [_name(label) for label in labels]

    def work() -> dict[str, Any]:
        started = time.perf_counter()
        answers, peak = _answers(folder / "fasttext.bin", halves)
        seconds = time.perf_counter() - started
        facts = {"rows": len(labels), "seconds": seconds - load_s, "load_s": load_s, "peak_mib": peak}
        return facts | _quality(truth, answers)

    return work


def _supervised(examples: Path, model: Path) -> float:
    learning = ["-wordNgrams", "2", "-minCount", "2", "-epoch", "5", "-lr", "0.5", "-verbose", "0"]
    files = ["-input", str(examples), "-output", str(model)]
    command = ["fasttext", "supervised", *files, *learning, "-thread", str(CORES)]
    peak = _run([command], [examples.with_suffix(".log")])
    model.with_suffix(".vec").unlink(missing_ok=True)
    return peak


def _answers(model: Path, files: Sequence[Path]) -> tuple[list[str], float]:
    outs = [file.with_name(f"{file.stem}-{number}.out") for number, file in enumerate(files)]
    peak = _run([["fasttext", "predict-prob", str(model), str(file)] for file in files], outs)
    return [line.split(" ", 1)[0] for out in outs for line in out.read_text().splitlines()], peak


def _run(commands: Sequence[Sequence[str]], outs: Sequence[Path]) -> float:
    """Run side by side, each writing to its file; most memory of all together, in MiB.

    Raises:
        CalledProcessError: one of them failed.
    """
    started = []
    for command, out in zip(commands, outs, strict=True):
        with out.open("w") as target:
            started.append(subprocess.Popen(command, stdout=target))
    peak = 0.0
    for process in started:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peak += usage.ru_maxrss / 1024
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
    return peak


def _write(path: Path, texts: Sequence[str], labels: Sequence[str], chosen: Sequence[bool]) -> None:
    """The format of fastText, which splits at spaces only: words are separated for it, as its own recipes do."""
    with path.open("w", encoding="utf-8") as file:
        for text, label, is_chosen in zip(texts, labels, chosen, strict=True):
            if is_chosen:
                words = " ".join(re.findall(r"\w\w+", text.lower()))
                file.write(f"{_LABEL}{_name(label)} {words}\n")


def _name(label: str) -> str:
    return re.sub(r"\s+", "_", label)


def _quality(truth: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score

    given = [answer.removeprefix(_LABEL) for answer in answers]
    return {
        "accuracy": float(accuracy_score(truth, given)),
        "macro_f1": float(f1_score(truth, given, average="macro", zero_division=0)),
    }
