"""What the champion says: evaluate, predict, explain."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from aisle import summary
from aisle.commands.catalogues import require
from aisle.options import Catalog, Json
from aisle.render import as_json, as_json_line, emit, table

BATCH_ROWS = 1_000
"""Lines of stdin that are answered at once: what a caller waits for, not what fits into memory."""


def evaluate(
    catalog: Catalog,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A labelled file; also a folder, glob or address.", show_default=False)
    ],
    as_json_: Json = False,
) -> None:
    """Test the champion on a labelled file.

    Nothing is written to the warehouse, and repeated ids all count.
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
    as_json_: Json = False,
) -> None:
    """Ask the champion about a product, or many.

    They need not be stored, and are not. --json prints one object a line, in the order given.
    """
    require(catalog)
    columns_of = _columns_of_fields(catalog)
    records = [_record(columns_of, pairs)] if pairs else _records_of_stdin(columns_of)
    if as_json_:
        for answer in _answers(catalog, records):
            emit(as_json_line(answer))
        return
    columns = ["label", "confidence", "decision", "runner_up", "reasons"]
    rows = [
        [answer[name] for name in columns[:4]] + [_tokens(answer["reasons"])] for answer in _answers(catalog, records)
    ]
    emit(table(columns, rows))


def explain(
    catalog: Catalog,
    product_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a stored product.", show_default=False)],
    as_json_: Json = False,
) -> None:
    """Say why a stored product has its label.

    Prints the tokens that spoke most for it against the runner-up, as stored with the prediction.
    """
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
    emit(as_json(found) if as_json_ else summary.explained(found))


def _columns_of_fields(catalog: str) -> dict[str, str]:
    """The source column of every field, by the field's name and by the column's own."""
    from catalogs.registry import load

    fields = load(catalog).fields
    return dict([(field.name, field.column) for field in fields] + [(field.column, field.column) for field in fields])


def _record(columns_of: dict[str, str], pairs: list[str]) -> dict[str, str]:
    """`FIELD=VALUE` texts as one product.

    Raises:
        typer.BadParameter: not such a pair, or neither a field nor one of its columns.
    """
    from core.errors import did_you_mean

    record = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"'{pair}' is not FIELD=VALUE", param_hint="FIELD=VALUE")
        if name not in columns_of:
            raise typer.BadParameter(f"no field '{name}'; {did_you_mean(name, columns_of)}", param_hint="FIELD=VALUE")
        record[columns_of[name]] = value
    return record


def _records_of_stdin(columns_of: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Products from JSON lines on stdin; keys are fields or columns of the source, others are passed over.

    Raises:
        SourceFormat: a line that is no JSON object; what was read before it may have been answered.
    """
    from core.errors import SourceFormat

    if sys.stdin.isatty():
        raise typer.BadParameter("give FIELD=VALUE pairs, or JSON lines on stdin", param_hint="FIELD=VALUE")
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        try:
            record, why = json.loads(line), "is JSON, but no object"
        except ValueError as error:
            record, why = None, f"is not JSON: {error}"
        if not isinstance(record, dict):
            raise SourceFormat(why, where=f"stdin, line {number}", hint='give one product a line: {"title": "…"}')
        yield _by_column(record, columns_of)


def _by_column(record: dict[str, Any], columns_of: dict[str, str]) -> dict[str, Any]:
    return {columns_of.get(name, name): value for name, value in record.items()}


def _answers(catalog: str, records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The champion's answer for each record, in order, with the decision of the current policy.

    Raises:
        NoChampion: there is no model yet.
    """
    from catalogs.normalise import normalise_records
    from catalogs.registry import load
    from classifier import artifact
    from warehouse import policy
    from warehouse.home import get_home
    from warehouse.registry import published_champion

    spec = load(catalog)
    champion = published_champion(get_home(), catalog)
    model = artifact.load(champion.folder)
    rules = policy.published_policy(get_home(), catalog)
    waiting = iter(records)
    while batch := list(itertools.islice(waiting, BATCH_ROWS)):
        frame = normalise_records(batch, spec)
        answers = model.predict(frame)
        decisions = policy.decide(answers, rules, champion.version)
        for product_id, answer, decision in zip(frame["product_id"], answers.to_dicts(), decisions, strict=True):
            yield {"product_id": product_id} | answer | {"decision": decision, "model_version": champion.version}


def _tokens(reasons: list[dict[str, Any]]) -> str:
    return ", ".join(f"{reason['token']} {reason['weight']:+.2f}" for reason in reasons)
