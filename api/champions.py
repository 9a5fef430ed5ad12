"""The champion of every catalogue, in memory, and replaced within seconds of a promotion or a rollback.

What is served is a plain dictionary that is exchanged as a whole: a request keeps the model that it began with.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import structlog

from api import metrics
from api.answers import COLUMNS, Answers
from api.problems import Refusal, of_error
from catalogs import registry as catalog_registry
from catalogs.product import PRODUCT_ID
from catalogs.records import asked_of
from catalogs.spec import CatalogSpec
from classifier.artifact import load
from classifier.model import Model
from core.errors import AisleError, ArtifactDamaged, NoChampion, did_you_mean
from warehouse.home import Home
from warehouse.mirror import refresh
from warehouse.policy import ASKED, SHOWN, published_policy, shown, thresholds_of
from warehouse.registry import ModelRecord, published_champion

__all__ = ["Champion", "Champions"]

log = structlog.get_logger("aisle.api")

BUCKET_S = 5.0
"""Seconds between looks into a bucket, by all workers on a machine that share a copy of it: each look is paid for."""


@dataclass(frozen=True, eq=False)
class Champion:
    """A loaded model and the policy that decides on its answers.

    Attributes:
        record: which model it is.
        model: the model.
        policy: from which confidence on an answer is accepted, and why.
        limits: label → that confidence for each of its levels.
    """

    record: ModelRecord
    model: Model
    policy: pl.DataFrame
    limits: dict[str, list[float | None]]

    @classmethod
    def of(cls, record: ModelRecord, model: Model, policy: pl.DataFrame) -> Champion:
        """A model with its part of a policy."""
        own = policy.filter(pl.col("model_version") == record.version)
        return cls(record, model, own, thresholds_of(own, record.version))

    @property
    def spec(self) -> CatalogSpec:
        """The catalogue as it was when the model was trained: the fields that the model reads."""
        return self.model.spec

    def answer(self, products: Sequence[dict[str, Any]], *, reasons: bool = True) -> Answers:
        """The model's answers and the decisions on them, in order; by the same steps as in bulk.

        Args:
            products: JSON objects, keyed as the rows of a source.
            reasons: whether to explain.
        """
        asked = asked_of(products, self.spec)
        said = self.model.predict_values(asked, len(products), reasons=reasons)
        limits_of = self.limits.get
        decided = [
            (product_id, *shown(label, path, confidence, levels, limits_of(label, ())))
            for product_id, label, path, confidence, levels in zip(
                asked[PRODUCT_ID], *(said[name] for name in ASKED), strict=True
            )
        ]
        beside = zip(*(said[name] for name in COLUMNS if name in said and name not in SHOWN), strict=True)
        version = (self.record.version,)
        return Answers(
            [dict(zip(COLUMNS, own + more + version, strict=True)) for own, more in zip(decided, beside, strict=True)]
        )


@dataclass(frozen=True)
class _Known:
    """What the last look found of one catalogue."""

    left: tuple[Any, ...] = ()
    champion: Champion | None = None
    problem: AisleError | None = None


@dataclass
class Champions:
    """The champions of a home.

    Attributes:
        home: where they lie.
        looked: whether the first look is over.
    """

    home: Home
    looked: bool = False
    _known: dict[str, _Known] = field(default_factory=dict)
    _contracts: dict[str, list[str]] = field(default_factory=dict)
    _fault: AisleError | None = None

    def names(self) -> list[str]:
        """Every catalogue that is declared or served."""
        return sorted(self._known)

    def get(self, catalog: str) -> Champion | None:
        """The catalogue's champion, if it has one."""
        known = self._known.get(catalog)
        return None if known is None else known.champion

    def problem(self, catalog: str) -> AisleError | None:
        """Why the newest champion could not be loaded; an earlier one may be served meanwhile."""
        known = self._known.get(catalog)
        return self._fault if known is None else known.problem

    def served(self) -> dict[str, Champion]:
        """All champions in memory."""
        return {name: known.champion for name, known in self._known.items() if known.champion is not None}

    def of(self, catalog: str) -> Champion:
        """The catalogue's champion.

        Raises:
            Refusal: 404 no such catalogue, 503 it has no champion yet.
        """
        found = self.get(catalog)
        if found is not None:
            return found
        if catalog not in self._known and self.looked and self._fault is None:
            raise Refusal(404, f"there is no catalogue '{catalog[:80]}'", hint=did_you_mean(catalog, self._known))
        raise self._not_yet(catalog)

    def of_contract(self, contract: str) -> Champion:
        """The champion that answers an outside contract: of the users' own catalogues first, then the built-in one.

        Raises:
            Refusal: 503, no catalogue of this contract has a champion yet.
        """
        names = self._contracts.get(contract, [])
        for name in names:
            found = self.get(name)
            if found is not None:
                return found
        raise self._not_yet(names[0] if names else None)

    def nothing_yet(self) -> Refusal:
        """What to say while no catalogue has a champion."""
        broken = [name for name in self.names() if not isinstance(self.problem(name), NoChampion | None)]
        return self._not_yet(broken[0] if broken else None)

    def _not_yet(self, catalog: str | None) -> Refusal:
        problem = self._fault if catalog is None else self.problem(catalog)
        if problem is not None and not isinstance(problem, NoChampion):
            said = of_error(problem)
            return Refusal(503, str(said.detail), hint=said.hint, headers={"Retry-After": "5"})
        if not self.looked:
            return Refusal(503, "models are being loaded", hint="try again in a second", headers={"Retry-After": "1"})
        detail = f"catalogue {catalog} has no champion yet" if catalog else "no catalogue has a champion yet"
        command = f"`aisle run {catalog or 'CATALOG'} SOURCE`"
        hint = f"make one with {command}; it is served within seconds, without a restart"
        return Refusal(503, detail, hint=hint, headers={"Retry-After": "5"})

    async def watch(self, every_s: float) -> None:
        """Look for new champions for ever, whatever a look meets: promotions and rollbacks must come through later."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.look()
            except Exception:
                log.exception("looking for champions failed", hint="it looks again in a moment")

    async def look(self) -> None:
        """Load what the last recorded runs left, where it is new. Meanwhile requests get what was there."""
        fault = await asyncio.to_thread(self._refreshed)
        try:
            declared = await asyncio.to_thread(self._declared)
            self._contracts = _by_contract(declared)
            before = self.served()
            for name in sorted(set(declared) | set(self._known)):
                was = self._known.get(name, _Known())
                now = await asyncio.to_thread(self._look_at, name, was)
                self._known[name] = now
                _tell(name, was, now)
            if before != self.served() or not self.looked:
                _spare_the_collector()
        except AisleError as error:
            fault = error
        if fault is not None and str(fault) != str(self._fault):
            log.error("home cannot be used", **fault.as_dict())
        self._fault, self.looked = fault, True
        metrics.LOOKED.set_to_current_time()

    def _refreshed(self) -> AisleError | None:
        """Bring the copy of a home on S3 up to date; what was copied before is served while that fails."""
        try:
            refresh(self.home, BUCKET_S)
        except AisleError as error:
            return error
        return None

    def _declared(self) -> dict[str, CatalogSpec | None]:
        self.home.check()
        return {name: _spec(name) for name in {*catalog_registry.names(), *self.home.catalogs()}}

    def _look_at(self, name: str, was: _Known) -> _Known:
        try:
            left = _left_by_last_run(self.home, name)
            if was.left and left == was.left:
                return was
            record = published_champion(self.home, name)
            policy = published_policy(self.home, name)
            same = was.champion is not None and was.champion.record.digest == record.digest
            model = was.champion.model if was.champion is not None and same else _loaded(record)
            return _Known(left, Champion.of(record, model, policy))
        except NoChampion as error:
            return _Known(left, None, error)
        except AisleError as error:
            # Looked at again next time: files may be on their way. What was served goes on being served.
            return _Known((), was.champion, error)
        except BaseException as error:  # be it a panic of a library, all else that is served goes on
            log.exception("champion cannot be loaded", catalog=name)
            return _Known((), was.champion, ArtifactDamaged(f"the champion cannot be loaded ({type(error).__name__})"))


def _left_by_last_run(home: Home, catalog: str) -> tuple[Any, ...]:
    """Something that differs after every recorded run, at the price of listing one folder."""
    folder = home.table(catalog, "runs") / "_delta_log"
    try:
        entries = os.listdir(folder)  # noqa: PTH208 - Path.iterdir makes an object of every entry
        return len(entries), max(entries, default=""), folder.stat().st_mtime_ns
    except FileNotFoundError:
        return ("no run yet",)


def _spare_the_collector() -> None:
    """Have the garbage collector pass over what is there for good; else it walks over all of it, 0.1 s each second."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _loaded(record: ModelRecord) -> Model:
    model = load(record.folder)
    # Builds what is built on first use, for words that it does not know too, and proves that the model answers before
    # anybody depends on it.
    probe = Champion(record, model, pl.DataFrame(), {})
    probe.answer([dict.fromkeys(model.spec.text_fields, "a first product zxqjzx")])
    return model


def _spec(name: str) -> CatalogSpec | None:
    try:
        return catalog_registry.load(name)
    except AisleError:
        return None  # one bad TOML must not take the other catalogues down; `aisle catalogs check` explains it


def _by_contract(declared: dict[str, CatalogSpec | None]) -> dict[str, list[str]]:
    """Catalogues of each contract, those of the users before the built-in ones."""
    found: dict[str, list[tuple[bool, str]]] = {}
    for name, spec in declared.items():
        if spec is not None and spec.contract is not None:
            builtin = catalog_registry.path_of(name).parent == catalog_registry.BUILTIN
            found.setdefault(spec.contract, []).append((builtin, name))
    return {contract: [name for _, name in sorted(names)] for contract, names in found.items()}


def _tell(name: str, was: _Known, now: _Known) -> None:
    old, new = was.champion, now.champion
    if new is not None and (old is None or old.record.version != new.record.version):
        log.info("champion loaded", catalog=name, version=new.record.version, digest=new.record.digest)
        metrics.champion_changed(name, None if old is None else old.record, new.record)
    problem = None if isinstance(now.problem, NoChampion) else now.problem
    metrics.CHAMPION_PROBLEM.labels(name).set(problem is not None)
    if problem is not None and str(problem) != str(was.problem):
        log.error("champion cannot be loaded", catalog=name, serving=old and old.record.version, **problem.as_dict())
