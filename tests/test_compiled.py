"""The compiled loops are compiled once, by whoever installs, and loaded from then on; with no place for that, anew."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numba.core.caching import IndexDataCacheFile

from classifier import compiled as compiling
from classifier.compiled import Float64s, Floats, Int64s, compiled
from tests.conftest import can_build

PROJECT = Path(__file__).resolve().parent.parent
# Before anything else: as where no library could be built.
NO_LIBRARY = """
import sys
from classifier.compiled import module_name
sys.modules[module_name()] = None
"""
LOAD = (
    NO_LIBRARY
    + """
import tempfile
def refused(*_, **__):
    raise OSError("read-only")
tempfile.TemporaryFile = refused  # by which Numba finds out whether it may write
from classifier import kernels, steps, sums
functions = [one for module in (kernels, steps, sums) for one in vars(module).values() if hasattr(one, "py_func")]
functions += [*sums.add_product.values(), *sums.rank_reasons.values()]
assert len(functions) > 10
missed = [one.py_func.__name__ for one in functions if not sum(one.stats.cache_hits.values())]
print(missed, {one.stats.cache_path for one in functions})
"""
)
# Every function, on words of several scripts: one product's labels would not ask for all of them.
ASK = """
import sys
import numpy as np, polars as pl, scipy.sparse as sp
from classifier import kernels
from classifier.adagrad import AdaGradClassifier
from classifier.design import Design, Product
from classifier.parts import Part, Tokens, WordNames, count_ids, weigh, weighted
from classifier.reasons import strongest_few
from classifier.subwords import gram_keys
from classifier.tokens import WORD_WITH_MARKS, TokenRule, encode
from classifier.vocabulary import learn
rule = TokenRule(pattern=WORD_WITH_MARKS)
texts = ["red dress red", "blue dress ñandú शर्ट", None, "", "long red dress, blue 👗 dress of a very long word"]
corpus = learn(pl.Series(texts * 3), rule, 3, 2)
words = corpus.vocabulary
encoded = encode(["red blue dress unheard red dress blue"], rule, words.lookup, keep_unknown=True)
idf = [np.linspace(1, 2, size).astype(np.float32) for size in words.sizes]
blocks = [Tokens(ids, len(own), own) for ids, own in zip(words.runs(encoded), idf)]
rows = weigh(blocks, encoded.starts, sublinear=True)
said = [words.words.to_list(), [own.tolist() for own in corpus.in_rows]]
said += [encoded.ids.tolist(), encoded.unknown.to_list(), [row.values.tolist() for row in rows]]
for floats in (np.float32, np.float64):
    weights = np.arange(3 * words.sizes[0], dtype=floats).reshape(-1, 3)
    own = count_ids(encoded.ids, encoded.starts, words.sizes[0]).rows(floats)
    parts = [Part("field", own, weights, WordNames(words.words))]
    said += [weighted(own, weights).tolist(), strongest_few(parts, np.array([2]), np.array([0]))]
said += [one.tolist() for one in gram_keys(pl.Series(["red", "ñ👗"]), 3, 4)]
words = sp.csr_matrix(np.arange(12, dtype=np.float32).reshape(4, 3) / 9)
taught = Design([words, Product((words,), (words[:3],))])
said += [AdaGradClassifier().fit(taught, np.array([0, 1, 1, 2])).coef_.tolist()]
print("numba" in sys.modules)
print(said)
# Other threads go on while a long text is read.
import threading, time
data = np.zeros(300_000_000, np.uint8)
ticks, done = [], threading.Event()
def tick():
    while not done.wait(0.005):
        ticks.append(1)
thread = threading.Thread(target=tick)
thread.start()
time.sleep(0.05)
before = len(ticks)
kernels.hashes(data, np.array([len(data)]), np.uint64(1), np.uint64(3))
print(len(ticks) - before > 3)
done.set()
"""


needs_compiler = pytest.mark.skipif(not can_build(), reason="no g++ or no headers of Python: no library can be built")


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A folder with the classifier as somebody has changed it."""
    shutil.copytree(PROJECT / "classifier", tmp_path / "classifier", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "classifier" / "sums.py").open("a") as sums:
        sums.write("# changed\n")
    return tmp_path


@pytest.fixture
def by_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions that no library has."""
    monkeypatch.setattr(compiling, "_library", lambda: None)


def told(
    code: str, where: Path = PROJECT, *, seconds: int = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """What Python says to some code, with the classifier of a folder."""
    others = {**os.environ, "PYTHONPATH": str(where), **environment}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=where, env=others, capture_output=True, text=True, timeout=seconds, check=False)


@needs_compiler
def test_with_the_library_no_process_loads_the_compiler() -> None:
    code = "import sys, classifier.sums, classifier.model; print('numba' in sys.modules)"
    assert told(code).stdout == "False\n", "run scripts/install: the sources have changed since"


def test_a_library_of_other_sources_is_not_loaded(changed: Path) -> None:
    assert told("from classifier.compiled import loaded; print(loaded())", changed).stdout == "False\n"


def test_a_library_that_cannot_be_loaded_is_warned_of_and_not_used(changed: Path) -> None:
    name = told("from classifier.compiled import module_name; print(module_name())", changed).stdout.strip()
    (changed / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}").write_bytes(b"half a file")
    found = told("from classifier.compiled import loaded; print(loaded())", changed)
    assert found.stdout == "False\n"
    assert "cannot be loaded; Numba compiles instead" in found.stderr


def test_what_was_compiled_at_install_is_loaded_also_where_nothing_can_be_written() -> None:
    """As in an image whose files belong to someone else."""
    filled = told(NO_LIBRARY + "import classifier.kernels, classifier.steps, classifier.sums")  # if nobody installed it
    assert filled.returncode == 0, filled.stderr
    assert told(LOAD).stdout.split() == ["[]", f"{{'{PROJECT / 'classifier' / '__pycache__'}'}}"]


def test_the_library_is_asked_with_the_right_arrays_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself it would read whatever memory it is given."""

    def total(values: Floats, places: Int64s) -> float:
        return float(values[places].sum())

    monkeypatch.setattr(compiling, "_library", lambda: SimpleNamespace(total_float32=total))
    function = compiled(total)
    values, places = np.array([1, 2, 3], dtype=np.float32), np.array([0, 2])
    assert function(values, places) == 4
    for wrong in ((values.astype(np.float64), places), (values, places.astype(np.int32)), (values[None], places)):
        with pytest.raises(TypeError, match="of total"):
            function(*wrong)
    with pytest.raises(TypeError, match="argument 0 of total"):
        function(values[::2], places)
    values.setflags(write=False)
    with pytest.raises(TypeError, match="argument 0 of total"):
        function(values, places)


@pytest.mark.slow
@needs_compiler
def test_the_library_gives_what_numba_does(changed: Path) -> None:
    code = "from classifier.library import build; from pathlib import Path; print(build(Path('built')))"
    built = told(code, changed, seconds=300)
    assert built.returncode == 0, built.stderr
    (library,) = (changed / "built").iterdir()
    assert built.stdout.strip() == str(library.relative_to(changed))
    answers = [
        told(ASK, changed, PYTHONPATH=f"{changed}{os.pathsep}{library.parent}").stdout,
        told(NO_LIBRARY + ASK, changed).stdout,
    ]
    (numba, of_library), (here, of_numba) = (answer.split("\n", 1) for answer in answers)
    assert (numba, here) == ("False", "True")
    assert of_library == of_numba
    assert of_library.endswith("True\n"), "it keeps other threads waiting"


def test_without_compiling_it_says_so() -> None:
    result = told(NO_LIBRARY + "import classifier.kernels", NUMBA_DISABLE_JIT="1")
    assert "NUMBA_DISABLE_JIT is set" in result.stderr


@pytest.mark.usefixtures("by_numba")
def test_a_folder_that_can_only_be_read_is_taken_for_what_it_was_filled_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "doubling.py"
    source.write_text("def double(number: int) -> int:\n    return 2 * number\n")
    monkeypatch.syspath_prepend(tmp_path)
    function = importlib.import_module("doubling").double
    compiled(function)

    def refused(*_: object, **__: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    assert sum(compiled(function).stats.cache_hits.values()) == 1
    source.write_text(source.read_text() + "# another\n")
    assert compiled(function).stats.cache_path != str(tmp_path / "__pycache__")


@pytest.mark.usefixtures("by_numba")
def test_it_compiles_where_there_is_no_place_to_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling._cache_class()._impl_class, "_locator_classes", ())

    def total(values: Floats, places: Int64s, sums: Float64s) -> tuple[float, int]:
        sums[0] += values[places[0]]
        return sums[0], len(values)

    sums = np.ones(1)
    function = compiled(total, "float64")
    assert function(np.array([1.5, 2.5]), np.array([1]), sums) == (3.5, 2)
    assert sums.tolist() == [3.5]
    with pytest.raises(TypeError, match="No matching definition"):
        function(np.array([1.5, 2.5], dtype=np.float32), np.array([1]), sums)


@pytest.mark.usefixtures("by_numba")
def test_what_cannot_be_saved_works_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(IndexDataCacheFile, "save", refused)

    def twice(number: int) -> int:
        return 2 * number

    assert compiled(twice)(21) == 42
