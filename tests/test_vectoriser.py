"""Text becomes the same matrix as with scikit-learn, and the same vector in bulk and alone."""

from __future__ import annotations

import itertools
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from catalogs.letter_case import LATIN
from classifier.lookup import KeyLookup, PairLookup, StringLookup
from classifier.parts import count_ids
from classifier.recipes import SubwordParams, WordParams
from classifier.subwords import Subwords, gram_keys
from classifier.text_field import TextField
from classifier.text_vectoriser import TextVectoriser
from classifier.tokens import WORD, WORD_WITH_MARKS, TokenRule, encode
from classifier.vocabulary import learn
from tests.products import products, shop

SETS = {
    "asos": "asos/exercise_train.tsv",
    "elo7": "elo7/products.csv",
    "newsgroups": "newsgroups/train.jsonl.gz",
    "gpc": "mwpd_gpc/train.jsonl.gz",
    "myntra": "myntra/styles.csv",
    "amazon_india": "amazon_india/products.parquet",
    "amazon": "amazon2018/meta_Magazine_Subscriptions.json.gz",
    "pricerunner": "pricerunner/products_extended_35311.csv",
}
PARAMETERS = [
    {},
    {"ngram_range": (1, 2), "sublinear_tf": True, "min_df": 2},
    {"ngram_range": (1, 3), "max_df": 0.5, "min_df": 0.001, "max_features": 3_000},
    {"ngram_range": (2, 2), "stop_words": "english", "norm": "l1", "smooth_idf": False},
    {"binary": True, "use_idf": False, "norm": None, "lowercase": False},
    {"binary": True, "max_features": 200},
]
TEXTS = [
    "Ein Kleid aus Müller-Stoff, GRÖSSE 38!",
    "ein kleid, ein KLEID: blau_grün",
    "Платье синее платье №5",
    "فستان أزرق طويل",
    "शर्ट नीली कमीज",
    "青いドレス 2024年",
    "emoji 👗👗 dress 👩‍👩‍👧",
    "cafe\u0301 cafés ½ ² x² ǅ straße İstanbul ΣΑΣ",
    "",
    None,
    "a b c",
    "tab\tnew\nline\x00null",
]

text = st.text(st.characters(codec="utf-8"), max_size=60)


def same(ours: TextVectoriser, theirs: TfidfVectorizer, texts: list[str]) -> float:
    mine, yours = ours.fit_transform(texts), theirs.fit_transform(texts)
    assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())
    assert abs(ours.transform(texts) - mine).nnz == 0
    return float(abs(mine - yours).max())


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_the_matrix_is_that_of_tfidf_vectorizer(parameters: dict) -> None:
    _, frame = shop()
    texts = [*frame["description"].fill_null("").to_list(), *(one or "" for one in TEXTS)]
    assert same(TextVectoriser(**parameters), TfidfVectorizer(**parameters, dtype=np.float32), texts) <= 1e-6
    double = TextVectoriser(**parameters, dtype=np.float64)
    assert same(double, TfidfVectorizer(**parameters), texts) <= 1e-6


def real_texts(name: str, path: Path) -> list[str]:
    if name == "pricerunner":  # no built-in catalogue
        return pl.read_csv(path)["Product Title"].drop_nulls().to_list()
    spec, frame = products(name, path)
    return frame.select(pl.concat_str(spec.text_fields, separator=" ", ignore_nulls=True)).to_series().to_list()


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_the_matrix_is_that_of_tfidf_vectorizer_on_real_products(name: str, shared_data: Path) -> None:
    texts = real_texts(name, shared_data / SETS[name])[:20_000]
    for parameters in PARAMETERS[:3]:
        assert same(TextVectoriser(**parameters), TfidfVectorizer(**parameters, dtype=np.float32), texts) <= 1e-6


@given(st.lists(text, min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_text_has_the_words_that_scikit_learn_finds(texts: list[str]) -> None:
    # Python 3.11 knows Unicode 14, Rust a later one: a character that only the later one has is a word here alone.
    texts = ["".join(c if unicodedata.category(c) != "Cn" else " " for c in one) for one in texts]
    analyse = TfidfVectorizer().build_analyzer()
    assert words_of(pl.Series(texts, dtype=pl.String), TokenRule()) == [analyse(one) for one in texts]


@given(text)
@settings(max_examples=300, deadline=None)
def test_one_text_has_the_same_words_alone_as_in_bulk(one: str) -> None:
    for rule in (TokenRule(), TokenRule(pattern=WORD_WITH_MARKS), TokenRule(strip_digits=True)):
        assert words_of([one], rule) * 3 == words_of(pl.Series([one] * 3), rule)


@pytest.mark.parametrize("pattern", [WORD, WORD_WITH_MARKS])
def test_python_and_rust_agree_on_every_character_that_python_is_left_with(pattern: str) -> None:
    """Latin letters, and the dashes, quotes and signs of shops: those whose case is folded without Polars."""
    rule = TokenRule(pattern=pattern)
    codes = [code for code in range(0x10000) if LATIN.fullmatch(chr(code).lower())]
    assert {0x24F, ord("’"), ord("–"), ord("•"), ord("™"), ord("₹"), 0xFFFD} < set(codes)
    texts = [f"a{chr(code)}b {chr(code)}{chr(code)} {chr(code)}" for code in codes]
    assert words_of(texts, rule) == words_of(pl.Series(texts), rule)


def test_combining_marks_belong_to_words_where_the_rule_says_so() -> None:
    hindi = pl.Series(["शर्ट"])
    assert words_of(hindi, TokenRule()) == [TfidfVectorizer().build_analyzer()("शर्ट")]
    assert words_of(hindi, TokenRule(pattern=WORD_WITH_MARKS)) == [["शर्ट"]]


def test_stop_words_make_their_neighbours_neighbours() -> None:
    vectoriser = TextVectoriser(ngram_range=(2, 2), stop_words=["of"]).fit(["king of hearts"])
    assert list(vectoriser.get_feature_names_out()) == ["king hearts"]


def test_an_unknown_word_keeps_its_neighbours_apart() -> None:
    vectoriser = TextVectoriser(ngram_range=(2, 2), norm=None, use_idf=False).fit(["red dress", "long red"])
    assert vectoriser.transform(["red unheard dress"]).nnz == 0


def test_digits_can_be_dropped_before_words_are_found() -> None:
    vectoriser = TextVectoriser(strip_digits=True).fit(["100cm 7up ٣abc"])
    assert list(vectoriser.get_feature_names_out()) == ["abc", "cm", "up"]


def test_it_works_in_a_pipeline_and_clones() -> None:
    vectoriser = TextVectoriser(ngram_range=(1, 2)).set_params(min_df=1)
    assert clone(vectoriser).get_params() == vectoriser.get_params()
    model = make_pipeline(clone(vectoriser), LinearSVC()).fit(["red dress", "blue shirt"], ["dress", "shirt"])
    assert model.predict(["a red one", "blue"]).tolist() == ["dress", "shirt"]


def test_what_was_learnt_can_be_written_as_tables_and_read_back() -> None:
    texts = [one or "" for one in TEXTS] * 2
    parameters = {"ngram_range": (2, 3), "min_df": 2}
    learnt = TextVectoriser(**parameters).fit(texts)
    again = TextVectoriser(**parameters).restore(learnt.tables(), len(texts))
    assert abs(again.transform(texts) - learnt.transform(texts)).nnz == 0
    assert again.vocabulary_ == learnt.vocabulary_


@pytest.mark.parametrize("texts", [[], [""], [None, "a"], ["!!!"]])
def test_texts_without_a_word_are_refused(texts: list) -> None:
    with pytest.raises(ValueError, match=r"no texts|no word"):
        TextVectoriser().fit(texts)


def test_a_single_string_is_refused() -> None:
    with pytest.raises(ValueError, match="list of texts"):
        TextVectoriser().fit("red dress")


def test_a_text_of_ten_megabytes_is_a_text() -> None:
    vectoriser = TextVectoriser().fit(["red dress", "blue"])
    huge = "red dress blue unheard " * 450_000
    assert len(huge) > 10_000_000
    assert vectoriser.transform([huge]).nnz == 3


@given(st.lists(text, unique=True, max_size=40), st.lists(text, max_size=40))
@settings(max_examples=100, deadline=None)
def test_strings_are_looked_up_as_in_a_dictionary(known: list[str], asked: list[str]) -> None:
    place = {one: i for i, one in enumerate(known)}
    expected = [place.get(one, -1) for one in [*asked, *known]]
    lookup = StringLookup(pl.Series(known, dtype=pl.String))
    few = lookup.ids(pl.Series([*asked, *known], dtype=pl.String))
    many = lookup.ids(pl.Series([*asked, *known] * 200, dtype=pl.String))
    assert few.tolist() == expected
    assert many.tolist() == expected * 200


def test_what_begins_at_the_same_slot_is_looked_up_all_the_same() -> None:
    """A few keys do in any list; here all do."""
    home = pow(0x9E3779B97F4A7C15, -1, 1 << 64)  # which the hash takes to the first slots
    keys = np.array([number * home % (1 << 64) for number in range(500)], dtype=np.uint64)
    lookup = KeyLookup(keys)
    assert lookup.ids(keys[::-1].copy()).tolist() == list(range(499, -1, -1))
    assert set(lookup.ids(keys + np.uint64(1)).tolist()) == {-1}


def test_words_of_any_length_are_told_apart() -> None:
    """Also those that repeat what eight bytes, which are hashed at once, end with."""
    words = sorted({head + one * times for head in ("", "x", "xa") for one in "abc\0é" for times in range(40)})
    lookup = StringLookup(pl.Series(words))
    assert lookup.ids(words).tolist() == list(range(len(words)))
    assert len(np.unique(lookup._hashed(words))) == len(words)


def test_which_words_share_a_slot_is_another_draw_in_each_lookup_and_goes_with_it() -> None:
    known = pl.Series([f"word {number}" for number in range(500)])
    one, other = StringLookup(known), StringLookup(known)
    assert not np.array_equal(one.table, other.table)
    assert pickle.loads(pickle.dumps(one)).ids(known).tolist() == one.ids(known).tolist() == list(range(500))


@pytest.mark.parametrize("width", [7, 2**31 - 1])
def test_ids_are_counted_row_by_row_however_many_there_are(width: int) -> None:
    last = width - 1
    ids = np.array([last, 0, last, -1, 3, -1, last, 3, 3], dtype=np.int32)
    counts = count_ids(ids, np.array([0, 4, 4, 6, 9]), width)
    assert counts.starts.tolist() == [0, 2, 2, 3, 5]
    assert counts.ids.tolist() == [last, 0, 3, last, 3]  # as they first come
    assert counts.times.tolist() == [2, 1, 1, 1, 2]
    assert (counts.ids.dtype, counts.rows(np.float64).values.dtype) == (np.int32, np.float64)
    assert counts.rows().to_csr().sum() == 7


@given(st.sets(st.tuples(st.integers(0, 20), st.integers(0, 30)), max_size=60), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_pairs_are_looked_up_as_in_a_dictionary(known: set[tuple[int, int]], seed: int) -> None:
    pairs = sorted(known)
    first, last = (np.array([pair[side] for pair in pairs], dtype=np.int32) for side in (0, 1))
    lookup = PairLookup(first, last)
    assert len(lookup) == len(pairs)
    place = {pair: i for i, pair in enumerate(pairs)}
    random = np.random.default_rng(seed)
    for texts in (5, 500):
        starts = np.concatenate([[0], np.cumsum(random.integers(0, 21, texts))])
        asked = random.integers(-1, 21, starts[-1], dtype=np.int32), random.integers(-1, 31, starts[-1], dtype=np.int32)
        for reach in (1, 2):
            # A pair never reaches into the next text.
            sides = asked[0].tolist(), asked[1].tolist()
            expected = [-1] * len(asked[0])
            for start, end in itertools.pairwise(starts.tolist()):
                for at in range(start, end - reach):
                    expected[at] = place.get((sides[0][at], sides[1][at + reach]), -1)
            assert lookup.grams(*asked, starts, reach).tolist() == expected


def test_learning_in_batches_gives_what_one_batch_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = shop()[1]["description"]
    whole = learn(texts, TokenRule(), 3, 2)
    monkeypatch.setattr("classifier.vocabulary.BATCH_ROWS", 100)
    parts = learn(texts, TokenRule(), 3, 2)
    assert parts.vocabulary.words.equals(whole.vocabulary.words)
    for n in range(3):
        assert parts.in_rows[n].tolist() == whole.in_rows[n].tolist()
    assert parts.vocabulary.names(3).every().equals(whole.vocabulary.names(3).every())


def test_the_rarest_entries_go_first_when_there_are_too_many() -> None:
    texts = shop()[1]["description"]
    everything, some = learn(texts, TokenRule(), 2, 1), learn(texts, TokenRule(), 2, 1, most=300)
    assert sum(some.vocabulary.sizes) <= 300
    kept = set(some.vocabulary.words.to_list())
    rarest_kept = some.in_rows[0].min()
    for word, rows in zip(everything.vocabulary.words.to_list(), everything.in_rows[0].tolist(), strict=True):
        assert (word in kept) or rows <= rarest_kept


def test_keys_of_character_ngrams_never_change() -> None:
    # They are in every artifact: where this fails, old models read words wrongly. Raise the artifact's schema then.
    keys, starts = gram_keys(pl.Series(["ab", "ñ👗"]), 3, 4)
    assert starts.tolist() == [0, 3, 6]
    assert keys.tolist() == [
        12698977739330699515,
        18357451122380080327,
        14106870455198250108,
        12641689161721315520,
        2483798698638158832,
        16679962105165880229,
    ]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=12), max_size=5))
@settings(max_examples=100, deadline=None)
def test_keys_stand_for_the_ngrams_inside_words(words: list[str]) -> None:
    keys, starts = gram_keys(pl.Series(words, dtype=pl.String), 3, 5)
    expected = [
        (place, f" {word} "[start : start + n])
        for place, word in enumerate(words)
        for n in (3, 4, 5)
        for start in range(len(word) + 3 - n)
    ]
    assert np.repeat(np.arange(len(words)), np.diff(starts)).tolist() == [place for place, _ in expected]
    grams = [gram for _, gram in expected]
    assert len(set(zip(grams, keys.tolist(), strict=True))) == len(set(grams)) == len(set(keys.tolist()))


def test_a_word_is_a_vector_of_length_one_or_of_nothing() -> None:
    words = pl.Series(["kleid", "kleider", "zzzz"])
    subwords = Subwords.learn(words[:2], np.array([3, 1]), 10, 3, 5, 1, 1_000)
    matrix = subwords.vectors(words).to_csr()
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))).ravel()
    assert lengths.tolist() == pytest.approx([1, 1, 0], abs=1e-6)


def test_subwords_of_known_words_fold_into_their_weights() -> None:
    """The design's promise: linear in the words, so that scoring a known word's letters costs nothing."""
    texts = shop()[1]["title"]
    field = TextField("title", 1.0, WordParams(), SubwordParams())
    blocks = field.fit(texts)
    random = np.random.default_rng(0)
    coefficients = [random.normal(size=(width, 4)).astype(np.float32) for width in field.widths]
    every = np.arange(len(texts))
    expected = sum(block[every] @ own for block, own in zip(blocks, coefficients, strict=True))
    field.weigh(coefficients)
    got = sum(part.rows.to_csr() @ part.weights for part in field.parts(texts))
    assert np.abs(got - expected).max() < 1e-4


@pytest.mark.parametrize("pattern", [WORD, WORD_WITH_MARKS])
@given(st.lists(st.none() | text, max_size=4))
@settings(max_examples=100, deadline=None)
def test_words_are_what_the_pattern_finds(pattern: str, texts: list[str | None]) -> None:
    given_texts = pl.Series([*texts, *TEXTS, "é ñ é1", "ʼn a\u0301 \u0301b नी x², __ _"], dtype=pl.String)
    # The same pattern, written so that it is not known to be one of the two.
    other = f"(?:{pattern})"
    for stop_words in (frozenset[str](), frozenset(["red", "é1"])):
        rules = [TokenRule(pattern=own, stop_words=stop_words) for own in (pattern, other)]
        found, expected = (words_of(given_texts, rule) for rule in rules)
        assert found == expected
    lists = given_texts.fill_null("").str.to_lowercase().str.extract_all(pattern).to_list()
    assert words_of(given_texts, TokenRule(pattern=pattern)) == lists


def words_of(texts: pl.Series | list[str], rule: TokenRule) -> list[list[str]]:
    """The words of each text: all of them are unknown to an empty vocabulary."""
    found = encode(texts, rule, rule.lookup(pl.Series([], dtype=pl.String)), keep_unknown=True)
    assert found.unknown is not None
    assert found.unknown_ids is not None
    words = found.unknown.gather(found.unknown_ids).to_list()
    return [words[start:end] for start, end in itertools.pairwise(found.starts.tolist())]
