"""What all routes share: settings, champions, and the one way from a client's products to answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from api.answers import Answers
from api.bodies import HeldBytes
from api.champions import Champion, Champions
from api.exchange import exchange_of
from api.predictor import Predictor
from api.problems import Refusal
from api.products import Place, check_products
from core.errors import UnknownProduct
from core.settings import Settings
from warehouse.home import Home, get_home
from warehouse.query import connect

__all__ = ["Service", "service_of"]


@dataclass
class Service:
    """One worker's state."""

    settings: Settings
    home: Home
    champions: Champions
    predictor: Predictor
    held: HeldBytes
    # One look-up after the other, as each may take AISLE_MEMORY_LIMIT. A thread of its own, so that a queue of them
    # delays nothing else.
    lookups: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="lookup"))

    @classmethod
    def of(cls, settings: Settings) -> Service:
        """A service that has looked at nothing yet."""
        home = get_home(fresh=False)
        predictor = Predictor(settings.workers, settings.api_timeout_s)
        return cls(settings, home, Champions(home), predictor, HeldBytes(settings))

    async def answer(
        self, request: Request, champion: Champion, products: Sequence[Any], place: Place, *, reasons: bool = False
    ) -> Answers:
        """Check products, and answer them in order.

        Args:
            request: whose they are.
            champion: who answers.
            products: as the client sent them.
            place: where each stands in the body, for what is said of it.
            reasons: whether to explain.

        Raises:
            BodyRefusal: products that cannot be answered.
            Refusal: 503, no answer in time.
        """
        exchange = exchange_of(request.scope)
        exchange.catalog = champion.record.catalog
        check_products(products, champion.spec, self.settings, place)
        answers = await self.predictor.answer(champion, products, reasons=reasons)
        exchange.products = len(answers)
        return answers

    async def labels(self, request: Request, contract: str, products: Sequence[Any], place: Place) -> list[str]:
        """The labels of products, in order, for an outside contract."""
        answers = await self.answer(request, self.champions.of_contract(contract), products, place)
        return answers.column("label")

    async def stored_prediction(self, catalog: str, product_id: str) -> dict[str, Any]:
        """A product's current row of the view `predictions`.

        Raises:
            NothingPublished: no run has been published yet.
            UnknownProduct: no product of that id has a prediction.
            Refusal: 503, no answer in time.
        """
        looking = asyncio.get_running_loop().run_in_executor(self.lookups, _look_up, self.home, catalog, product_id)
        try:
            return await asyncio.wait_for(looking, self.settings.api_timeout_s)
        except TimeoutError:
            hint = "read many at once with SQL: aisle sql, or warehouse.duckdb"
            raise Refusal(503, "too many look-ups wait", hint=hint, headers={"Retry-After": "5"}) from None

    def close(self) -> None:
        """Finish what was begun."""
        self.predictor.close()
        self.lookups.shutdown(wait=True)


def _look_up(home: Home, catalog: str, product_id: str) -> dict[str, Any]:
    with connect(home) as connection:
        found = connection.execute(
            "SELECT * FROM predictions WHERE catalog = $catalog AND product_id = $product_id",
            {"catalog": catalog, "product_id": product_id},
        )
        names = [column[0] for column in found.description or []]
        row = found.fetchone()
    if row is None:
        raise UnknownProduct(
            f"catalogue {catalog} has no prediction of product '{product_id[:200]}'",
            hint=f"pending products have none until they are scored: aisle score {catalog}",
        )
    return dict(zip(names, row, strict=True))


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    service: Service = request.app.state.service
    return service
