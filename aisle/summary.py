"""What flows did, in words: one block of text each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aisle.render import count, facts, score, table

if TYPE_CHECKING:
    from tasks.model_results import TrainResult
    from tasks.monitor_results import MonitorResult, SelfTestResult
    from tasks.results import CatchUpResult, IngestResult, MaintainResult, RunResult, ScoreResult

MIB = 1 << 20

PLACES = ("accepted", "review", "pending", "rejected", "repeated", "unchanged")
"""Where a row that was read ends: in exactly one of these."""

DATA_DOCS, ONLINE = "data_docs", "(needs the network for its styles)"

REASONS_SHOWN = 3
"""Kinds of reasons for rejection that are named, the commonest."""

LABEL_MOST = 100
"""Columns on screen that a label takes at most in a table of labels: the end of a path is what tells it apart."""

LABELS_SHOWN = 30
"""Labels of an evaluation that are shown, the largest; of each level of a path, a third. JSON has them all."""


def ingested(result: IngestResult) -> str:
    """Rows read / stored / unchanged / repeated / rejected / removed, warnings and the validation report."""
    rows = result.rows
    order = ("read", "stored", "unchanged", "repeated", "rejected", "removed")
    lines = [f"{result.catalog}: {count(rows.get('read', 0))} rows read (run {result.run_id})"]
    lines.append(facts((name, rows.get(name, 0)) for name in order[1:]))
    if not rows.get("stored") and not rows.get("removed"):
        lines.append(nothing_new(rows, "stored"))
    return "\n".join(lines + rejected(result) + warnings(result) + reports(result.reports))


def caught_up(result: CatchUpResult) -> str:
    """Each file's rows, and the files that were passed over."""
    lines = [f"{name}: read before, by run {run}" for name, run in result.done.items()]
    lines += [ingested(batch) for batch in result.batches]
    rows, files = result.rows, len(result.batches)
    lines.append(
        f"{result.catalog}: {files:,} files read, {count(rows['stored'])} of {count(rows['read'])} rows stored"
    )
    return "\n".join(lines)


def measured(holdout_rows: int) -> str:
    """On what a model's metrics were measured; a prototype learns from every labelled row, and has no hold-out."""
    return "hold-out" if holdout_rows else "out of fold"


def trained(result: TrainResult) -> str:
    """Version, gate, hold-out scores beside the baselines."""
    verdict = "is champion" if result.promoted else "was not promoted"
    # Of a comparison the reasons follow one by one.
    why = result.why.partition(": ")[0] if result.gate else result.why
    lines = [f"{result.catalog}: {result.version} ({result.recipe}) {verdict}: {why}", *gate(result)]
    lines.append(
        facts(
            [
                ("trained on", f"{count(result.rows)} rows in {result.train_s:.1f} s"),
                ("hold-out", f"{count(result.holdout_rows)} rows"),
            ]
        )
    )
    lines += [f"note: {sentence}" for sentence in result.unread]
    lines.append(scores(result.version, result.metrics, result.baselines, measured(result.holdout_rows)))
    lines += findings(result)
    if result.promoted:
        lines.append(f"next: aisle score {result.catalog}, so that its answers stand in the predictions")
    return "\n".join(lines + reports(result.reports))


def gate(result: TrainResult) -> list[str]:
    """Lines on what the gate compared: what passed by name, what failed in words."""
    passed = [check["title"] for check in result.gate if check["passed"] and check["label"] is None]
    labels = sum(check["passed"] for check in result.gate if check["label"] is not None)
    if labels:
        passed.append(f"F1 of {labels} large label{'s' if labels > 1 else ''}")
    lines = [f"  failed  {check['said']}" for check in result.gate if not check["passed"]]
    return [*lines, f"  passed  {', '.join(passed)}"] if passed else lines


def scored(result: ScoreResult) -> str:
    """How many products were scored, and how many answers were reused."""
    return "\n".join([_scored(result), *(f"note: {sentence}" for sentence in result.notes)])


def _scored(result: ScoreResult) -> str:
    rows = result.rows
    if result.history_only:
        if not rows["scored"] and not rows["reused"]:
            return f"{result.catalog}: nothing to score, no product was stored in that time (run {result.run_id})"
        before = f", {count(rows['reused'])} had been before" if rows["reused"] else ""
        done = f"{count(rows['scored'])} scored with {result.version}{before}; it is not champion"
        return f"{result.catalog}: {done}, so they stand in predictions_history alone (run {result.run_id})"
    current = rows.get("current")
    of = "" if current is None else f" of {count(current)}"
    if not rows.get("scored"):
        none = "no product is stored" if current == 0 else f"{result.version} has answered for all products before"
        return f"{result.catalog}: nothing to score, {none}"
    again = f", {count(rows['reused'])} answers reused" if rows.get("reused") else ""
    done = f"{count(rows['scored'])}{of} products scored with {result.version}{again}"
    decided = ", ".join(f"{count(rows[name])} {name}" for name in ("accepted", "review", "pending") if rows.get(name))
    return "\n".join([f"{result.catalog}: {done} (run {result.run_id})", *([f"now: {decided}"] if decided else [])])


def maintained(result: MaintainResult) -> str:
    """What was checked, what is damaged, and what was tidied."""
    seen = result.checked
    looked = (
        f"{seen['tables']} tables, {count(seen['files'])} files, {count(seen['rows'])} rows, {seen['models']} models"
    )
    if result.compacted is None or result.deleted is None:
        lines = [f"{result.catalog}: {looked} checked, {len(result.damage)} damaged; nothing was touched"]
        return "\n".join([*lines, *_damaged(result)])
    lines = [f"{result.catalog}: {looked} checked, all whole"]
    if result.damage:
        lines += ["  what people read was damaged, and is published anew:", *_damaged(result)]
    lines += [f"  {kind}: {done['before']} files made {done['after']}" for kind, done in result.compacted.items()]
    lines += [
        f"  {kind}: {done['files']:,} files that nobody needs deleted ({done['bytes'] / MIB:,.1f} MiB)"
        for kind, done in result.deleted.items()
    ]
    return "\n".join(lines)


def _damaged(result: MaintainResult) -> list[str]:
    return [line for one in result.damage for line in (f"  {one['where']}: {one['what']}", f"    hint: {one['hint']}")]


def watched(result: MonitorResult) -> str:
    """Both verdicts on drift, what that means for the model, and the reports."""
    found = {"summary": result.summary, "arrivals": result.arrivals}
    lines = [f"{result.catalog}: monitored (run {result.run_id})", *_watched(found, result)]
    return "\n".join([*lines, *reports(result.reports)])


def tested(result: SelfTestResult) -> str:
    """How often detectors raised an alarm, with and without drift."""
    columns = ["compared", "what was done", "products", "alarms", "goal", "most often"]
    rows = [
        [
            trial["comparison"],
            f"{trial['drift']}, {trial['drawn']}" if trial["drift"] else f"nothing: {trial['drawn']}",
            trial["rows"],
            f"{trial['alarms']} of {trial['trials']}",
            "reached" if trial["met"] else "not reached",
            trial["named"],
        ]
        for trial in result.trials
    ]
    return "\n".join([table(columns, rows), f"{result.catalog}: {result.summary}", *reports(result.reports)])


def _watched(found: Mapping[str, Any], result: MonitorResult | RunResult) -> list[str]:
    shown = [("catalogue", drift(found)), ("arrivals", drift(found["arrivals"]))]
    if result.freshness["stale"]:
        shown.append(("stale", result.freshness["summary"]))
    shown.append(("retraining", result.retraining["summary"]))
    lines = [f"  {name:<10} {text}" for name, text in shown]
    if result.retraining["wanted"]:
        both = f"aisle train {result.catalog} && aisle score {result.catalog}"
        lines.append(f"  next: {both}; a deployment with a trigger for aisle.retrain does it by itself")
    return lines


def ran(result: RunResult) -> str:
    """A whole run: where its rows ended, the model, drift, reports, and what to ask next."""
    rows = result.rows
    lines = [f"{result.catalog}: {count(rows.get('read', 0))} rows read (run {result.run_id})"]
    lines.append(facts((name, rows[name]) for name in (*PLACES, "removed") if name in rows))
    if is_nothing_new(rows):
        lines.append(nothing_new(rows))
    lines.append(f"  model      {_model(result.model)}")
    lines += [f"note: {sentence}" for sentence in result.notes]
    lines += _watched(result.drift, result)
    if result.baselines:
        lines.append(scores(str(result.model.get("version")), result.model, result.baselines))
    lines += findings(result)
    return "\n".join(lines + rejected(result) + warnings(result) + reports(result.reports))


def findings(result: TrainResult | RunResult) -> list[str]:
    """Lines on what the model's figures do not show, and on where it is weak."""
    said = [f"  {sentence}" for sentence in result.findings]
    if result.acceptance["labels"] and not result.acceptance["acceptable"]:
        said.insert(0, f"  No label may be accepted unseen yet. {result.acceptance['lacks']}")
    return ["findings:", *said] if said else []


def rejected(result: IngestResult | RunResult) -> list[str]:
    """Lines with the commonest reasons for rejection, and how to see the rows."""
    if not result.reasons:
        return []
    own = f"FROM rejects WHERE run_id = '{result.run_id}' ORDER BY source, line LIMIT 50"
    first = f'  the first: aisle sql "SELECT source, line, reasons, raw {own}"'
    return ["rejected:", *_commonest(result.reasons), first]


def _commonest(reasons: Mapping[str, int]) -> list[str]:
    """Lines with rows by kind of reason for rejection, as far as they are shown."""
    ordered = sorted(reasons.items(), key=lambda item: -item[1])
    lines = [f"  {_rows(rows)}: {reason}" for reason, rows in ordered[:REASONS_SHOWN]]
    left = len(ordered) - REASONS_SHOWN
    return lines if left <= 0 else [*lines, f"  … and {left:,} rarer reasons: --json has them all"]


def warnings(result: IngestResult | RunResult) -> list[str]:
    """Lines with the rows to warn of, and what is the matter with them."""
    if not result.warnings:
        return []
    commonest = sorted(result.warnings.items(), key=lambda item: (-item[1], item[0]))
    return ["warnings:", *(f"  {_rows(rows)}: {result.meanings[name]}" for name, rows in commonest)]


def reports(paths: Mapping[str, str]) -> list[str]:
    """Lines with the paths of pages, Great Expectations' own last: it alone needs more than its file."""
    if not paths:
        return []
    ordered = sorted(paths.items(), key=lambda item: item[0] == DATA_DOCS)
    return ["reports:", facts((f"{name} {ONLINE}" if name == DATA_DOCS else name, path) for name, path in ordered)]


def drift(found: Mapping[str, Any]) -> str:
    """The drift verdict in a sentence or two."""
    return str(found.get("summary") or ("Drift." if found.get("drifted") else "No drift."))


def is_nothing_new(rows: Mapping[str, int]) -> bool:
    """Whether a run stored, removed and scored nothing."""
    elsewhere = sum(rows.get(name, 0) for name in ("rejected", "repeated", "unchanged"))
    return rows.get("read", 0) == elsewhere and not rows.get("removed") and not rows.get("scored")


def is_all_rejected(rows: Mapping[str, int]) -> bool:
    """Whether no row of a source could be used."""
    return bool(rows.get("rejected")) and rows["rejected"] == rows.get("read")


def nothing_new(rows: Mapping[str, int], what: str = "re-scored") -> str:
    """The sentence for a run that changed nothing; a file of which no row could be used is another matter."""
    if is_all_rejected(rows):
        return f"warning: all {count(rows['rejected'])} rows were rejected, nothing {what}"
    return f"nothing new: {count(rows.get('unchanged', 0))} rows unchanged, nothing {what}"


def scores(
    name: str, metrics: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Any]], where: str = "hold-out"
) -> str:
    """Accuracy and macro F1 of a model on the hold-out, or whatever was measured on, beside its baselines."""
    rows = [(name, metrics), *((baseline.replace("_", " "), found) for baseline, found in baselines.items())]
    shown = [[who, score(found.get("accuracy")), score(found.get("macro_f1"))] for who, found in rows]
    return table([where, "accuracy", "macro F1"], shown)


def evaluated(result: Mapping[str, Any]) -> str:
    """Scores of an evaluation, the largest labels with theirs."""
    head = f"{result['catalog']} {result['model']}: {count(result['rows'])} labelled rows compared"
    left = [f"{count(result[name])} {name}" for name in ("rejected", "unlabelled") if result.get(name)]
    lines = [", ".join([head, *left])]
    if result["trained_on"]:
        lines.append(
            f"warning: {result['model']} was trained on the text of {_rows(result['trained_on'])} of these, and knows "
            f"them. What it is worth on new products: aisle models list {result['catalog']}, and its evaluation report"
        )
    if result["reasons"]:
        lines += ["rejected:", *_commonest(result["reasons"])]
    lines.append(facts(_overall(result)))
    accepted = result["accepted"]
    right = f", {score(accepted['accuracy'])} of them right" if accepted["rows"] else ""
    lines.append(f"  accepted unseen: {_rows(accepted['rows'])}{right}")
    levels = result.get("levels")
    if not levels:
        return "\n".join([*lines, _labels(result["labels"], LABELS_SHOWN)])
    for level, found in levels.items():
        lines += [f"{level}:", facts(_overall(found)), _labels(found["labels"], LABELS_SHOWN // 3)]
    return "\n".join(lines)


def predicted(answer: Mapping[str, Any], levels: Sequence[str]) -> list[list[Any]]:
    """An answer as rows of label, confidence, decision and runner-up; of a label path a further row for each level."""
    steps = _steps(answer, levels)
    decision = f"{answer['decision']}, {answer['depth']} of {len(steps)} levels" if steps else answer["decision"]
    rows = [[answer["label"], answer["confidence"], decision, answer["runner_up"]]]
    rows += [
        [f"  {name}: {node}", confidence, "accepted" if taken else "", ""] for name, node, confidence, taken in steps
    ]
    return rows


def explained(found: Mapping[str, Any], levels: Sequence[str]) -> str:
    """A product, its label, how sure the model is of each level of a path, and the tokens that spoke for it."""
    from catalogs.product import join_path

    product, prediction = found["product"], found["prediction"]
    hidden = {"row_hash", "feature_hash", "known_path", "stored_at", "catalog", "run_id"}
    lines = [facts(((name, value) for name, value in product.items() if name not in hidden), indent=0)]
    if prediction is None:
        return "\n".join([*lines, "", "pending: stored, not scored yet; aisle score answers for it"])
    answer = [("label", prediction["label"]), ("confidence", score(prediction["confidence"]))]
    answer += [("decision", f"{prediction['decision']} (decided by the {prediction['decided_by']})")]
    answer += [("runner-up", prediction["runner_up"]), ("model", prediction["model_version"])]
    steps = _steps(prediction, levels)
    if steps:
        answer.insert(3, ("predicted", join_path(prediction["predicted_path"])))
    if steps and prediction["decided_by"] == "model":
        answer.insert(4, ("accepted", f"{prediction['depth']} of {len(steps)} levels"))
    reasons = [[reason["field"], reason["token"], reason["weight"]] for reason in prediction["reasons"] or []]
    tables = [table(["level", "predicted", "confidence"], [step[:3] for step in steps])] if steps else []
    tables.append(table(["field", "token", "weight"], reasons))
    return "\n\n".join(["\n".join(lines), facts(answer, indent=0), *tables])


def _steps(answer: Mapping[str, Any], levels: Sequence[str]) -> list[tuple[str, str, float, bool]]:
    """Each level of an answer that is a path: its name, the node, the confidence down to it, whether it is accepted.

    None for a catalogue of plain labels.
    """
    if len(levels) < 2:
        return []
    nodes = zip(levels, answer["predicted_path"], answer["confidence_path"], strict=False)  # a path may end earlier
    return [
        (name, node, confidence, level <= answer["depth"]) for level, (name, node, confidence) in enumerate(nodes, 1)
    ]


def _rows(rows: int) -> str:
    return "1 row" if rows == 1 else f"{count(rows)} rows"


def _overall(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = (("accuracy", "accuracy"), ("macro F1", "macro_f1"), ("weighted F1", "weighted_f1"))
    return [(shown, score(found.get(name))) for shown, name in names]


def _labels(labels: Mapping[str, Mapping[str, Any]], most: int) -> str:
    largest = sorted(labels.items(), key=lambda item: -item[1]["support"])
    rows = [
        [label, found["support"], *(score(found[name]) for name in ("precision", "recall", "f1"))]
        for label, found in largest[:most]
    ]
    text = table(["label", "rows", "precision", "recall", "F1"], rows, most=LABEL_MOST)
    left = len(largest) - most
    return text if left <= 0 else f"{text}\n… and {left:,} smaller labels: --json has them all"


def _model(model: Mapping[str, Any]) -> str:
    origin = "trained in this run" if model.get("trained") else "trained before"
    found = f"accuracy {score(model.get('accuracy'))}, macro F1 {score(model.get('macro_f1'))} on the hold-out"
    return f"{model.get('version')} ({origin}): {found}"
