"""What the champion says: evaluate, predict, explain."""

from __future__ import annotations

import io
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aisle import summary
from aisle.commands.catalogues import require
from aisle.options import Catalog, Json
from aisle.render import as_json, as_json_line, emit, note, table

if TYPE_CHECKING:
    import polars as pl

    from catalogs.spec import CatalogSpec
    from classifier.model import Model

ANSWER_COLUMNS = ("label", "confidence", "decision", "runner_up")

BATCH_ROWS = 1_000
"""Lines of stdin that are answered at once: what a caller waits for, not what fits into memory."""


@dataclass(frozen=True)
class _Question:
    """A line of stdin: the product in it, or what is wrong with it."""

    line: int
    record: dict[str, Any]
    problem: str = ""


def evaluate(
    catalog: Catalog,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A labelled file; also a folder, glob or address.", show_default=False)
    ],
    as_json_: Json = False,
) -> None:
    """Test the champion on a labelled file.

    Nothing is written to the warehouse, and repeated ids all count. Rows whose text the champion was trained on are
    counted, and warned of.
    """
    require(catalog)
    from aisle.running import working
    from tasks.evaluate_file import evaluate_file

    with working(f"evaluate {catalog}"):
        result = evaluate_file(catalog, [file])
    emit(as_json(result) if as_json_ else summary.evaluated(result))


def predict(
    catalog: Catalog,
    pairs: Annotated[
        list[str] | None,
        typer.Argument(metavar="FIELD=VALUE", help="One product; none: JSON lines on stdin.", show_default=False),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", min=1, metavar="K", help="The best K labels of each product.", show_default=False)
    ] = 1,
    as_json_: Json = False,
) -> None:
    """Ask the champion about a product, or many.

    With --top, `labels` has the best K labels of a product, and `labels_above` every label whose confidence is over
    its threshold, the best of label paths down to the level that is accepted. Products need not be stored, and are
    not. --json prints one object a line, in the order given; for a line that cannot be answered {"line", "problem"},
    and the exit code is 1 at the end.
    """
    require(catalog)
    from catalogs.registry import load

    spec = load(catalog)
    asked = [_question(spec, pairs)] if pairs else _questions_of_stdin(spec)
    refused, rows = 0, []
    for answer in _answers(spec, asked, top):
        refused += "problem" in answer
        if as_json_:
            emit(as_json_line(answer))
        elif "problem" in answer:
            note(f"error: {answer['problem']['where']}: {answer['problem']['message']}")
        else:
            own, *levels = summary.predicted(answer, spec.levels)
            rows += [[*own, _tokens(answer["reasons"])], *([*level, ""] for level in levels)]
            rows += [["  " + one["label"], one["confidence"], "", "", ""] for one in answer.get("labels", [])[1:]]
    if not as_json_ and (rows or not refused):
        emit(table([*ANSWER_COLUMNS, "reasons"], rows))
    if refused:
        raise typer.Exit(1)


def explain(
    catalog: Catalog,
    product_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a stored product.", show_default=False)],
    as_json_: Json = False,
) -> None:
    """Say why a stored product has its label.

    Prints the tokens that spoke most for it against the runner-up, as stored with the prediction.
    """
    from catalogs.registry import load
    from core.errors import UnknownProduct
    from warehouse.home import get_home
    from warehouse.query import query
    from warehouse.statements import quoted

    require(catalog)
    this = f"catalog = {quoted(catalog)} AND product_id = {quoted(product_id)}"
    products = query(get_home(), f"SELECT * FROM products WHERE {this}").as_dicts()
    if not products:
        raise UnknownProduct(
            f"catalogue {catalog} has no product '{product_id}'",
            hint="it may be among the rejects, or be removed: see the views rejects, products and predictions_history",
        )
    predictions = query(get_home(), f"SELECT * FROM predictions WHERE {this}").as_dicts()
    product = {name: value for name, value in products[0].items() if value is not None}
    found = {"product": product, "prediction": predictions[0] if predictions else None}
    emit(as_json(found) if as_json_ else summary.explained(found, load(catalog).levels))


def _columns_of_fields(spec: CatalogSpec) -> dict[str, str]:
    """The source column of every field, by the field's name and by the column's own."""
    return {field.name: field.column for field in spec.fields} | {field.column: field.column for field in spec.fields}


def _question(spec: CatalogSpec, pairs: list[str]) -> _Question:
    """`FIELD=VALUE` texts as one product.

    Raises:
        typer.BadParameter: not such a pair, neither a field nor one of its columns, or nothing that can be answered.
    """
    from catalogs.asked import product_problems
    from core.errors import did_you_mean

    columns_of = _columns_of_fields(spec)
    record = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"'{pair}' is not FIELD=VALUE", param_hint="FIELD=VALUE")
        if name not in columns_of:
            raise typer.BadParameter(f"no field '{name}'; {did_you_mean(name, columns_of)}", param_hint="FIELD=VALUE")
        record[columns_of[name]] = value
    if problems := product_problems(record, spec):
        raise typer.BadParameter(_in_words(problems), param_hint="FIELD=VALUE")
    return _Question(1, record)


def _questions_of_stdin(spec: CatalogSpec) -> Iterator[_Question]:
    """Products from JSON lines on stdin; keys are fields or columns of the source, others are passed over."""
    from catalogs.asked import product_problems
    from core.errors import printable

    if sys.stdin.isatty():
        raise typer.BadParameter("give FIELD=VALUE pairs, or JSON lines on stdin", param_hint="FIELD=VALUE")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(
            encoding="utf-8", errors="surrogateescape"
        )  # one line that is not UTF-8 costs only itself
    columns_of = _columns_of_fields(spec)
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        record: Any = None
        if printable(line) != line:
            why = "is not UTF-8"
        else:
            try:
                record, why = json.loads(line), ""
            except (ValueError, RecursionError) as error:
                why = f"is not JSON: {error}"
        if not why and isinstance(record, dict):
            record = {columns_of.get(name, name): value for name, value in record.items()}
        if not why:
            why = _in_words(product_problems(record, spec))
        yield _Question(number, {} if why else record, why)


def _in_words(problems: list[tuple[tuple[str | int, ...], str]]) -> str:
    """What is wrong with a product, in a sentence."""
    return "; ".join(" ".join([".".join(map(str, steps)), detail]).strip() for steps, detail in problems)


def _answers(spec: CatalogSpec, questions: Iterable[_Question], top: int) -> Iterator[dict[str, Any]]:
    """What to say to each question, in order: the champion's answer with the decision of the current policy, and its
    best labels where more than one is asked for; or {line, problem}.

    Raises:
        NoChampion: there is no model yet.
    """
    from catalogs.normalise import normalise_records
    from classifier import artifact
    from warehouse import policy
    from warehouse.home import get_home
    from warehouse.registry import published_champion

    champion = published_champion(get_home(), spec.name)
    model = artifact.load(champion.folder)
    rules = policy.published_policy(get_home(), spec.name)
    limits = policy.thresholds_of(rules, champion.version)
    waiting = iter(questions)
    while batch := list(itertools.islice(waiting, BATCH_ROWS)):
        asked = [question.record for question in batch if not question.problem]
        frame = normalise_records(asked, model.spec, digests=False)
        answers = model.predict(frame)
        shown = policy.decide(answers, rules, champion.version)
        best = _best_labels(model, frame, top, limits, shown) if top > 1 else [{}] * frame.height
        said = zip(frame["product_id"], answers.to_dicts(), shown.to_dicts(), best, strict=True)
        for question in batch:
            if question.problem:
                yield _refusal(question)
                continue
            product_id, answer, shown_of, best_of = next(said)
            yield {"product_id": product_id} | answer | shown_of | best_of | {"model_version": champion.version}


def _best_labels(
    model: Model, frame: pl.DataFrame, top: int, limits: Mapping[str, Sequence[float | None]], shown: pl.DataFrame
) -> list[dict[str, Any]]:
    """For each product `labels`, the best ones, and `labels_above`, every one that is over its threshold.

    The best label counts down to the level that is accepted, as `shown` has it.
    """
    found: list[dict[str, Any]] = []
    accepted = [[label] if depth else [] for label, depth in shown.select("label", "depth").iter_rows()]
    for ranked, above in zip(model.top(frame, max(top, len(model.labels))), accepted, strict=True):
        least = ((label, confidence, (limits.get(label) or [None])[-1]) for label, confidence in ranked[1:])
        above = above + [label for label, confidence, bar in least if bar is not None and confidence >= bar]
        best = [{"label": label, "confidence": confidence} for label, confidence in ranked[:top]]
        found.append({"labels": best, "labels_above": above})
    return found


def _refusal(question: _Question) -> dict[str, Any]:
    from core.errors import SourceFormat

    where, hint = f"stdin, line {question.line}", 'give one product a line: {"title": "…"}'
    return {"line": question.line, "problem": SourceFormat(question.problem, where=where, hint=hint).as_dict()}


def _tokens(reasons: list[dict[str, Any]]) -> str:
    return ", ".join(f"{reason['token']} {reason['weight']:+.2f}" for reason in reasons)
