"""Answering products: many in a thread, few together with those of other requests that wait at the same moment.

The fixed price of a prediction is paid for a batch, not for a product, so requests for one product each are collected
while an earlier batch is worked on. A product gets the same answer alone and in any batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from api import metrics
from api.answers import Answers
from api.champions import Champion
from api.problems import Refusal

__all__ = ["FEW", "Predictor"]

Products = Sequence[dict[str, Any]]

FEW = 64
"""Up to so many products a request are answered with those of others."""
INLINE_CHARS = 50_000
"""Up to so much text in few products is worked on at once: handing it to a thread would cost more."""


@dataclass(frozen=True)
class _Waiting:
    champion: Champion
    products: Products
    reasons: bool
    chars: int
    until: float
    answer: asyncio.Future[Answers]


class Predictor:
    """Gives products to models.

    Args:
        threads: large requests worked on at once.
        timeout_s: how long an answer may take.
    """

    def __init__(self, threads: int, timeout_s: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._timeout_s = timeout_s
        self._waiting: list[_Waiting] = []
        self._busy = False

    async def answer(self, champion: Champion, products: Products, *, reasons: bool = True) -> Answers:
        """One row a product, in order, as `Champion.answer`.

        Raises:
            Refusal: 503, it took too long.
        """
        chars = INLINE_CHARS if len(products) > FEW else _text_chars(products)
        try:
            if chars < INLINE_CHARS:
                answers = await self._together(champion, products, chars, reasons)
            else:
                work = partial(champion.answer, products, reasons=reasons)
                async with asyncio.timeout(self._timeout_s):
                    answers = await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except TimeoutError:
            hint = "send fewer products at a time, or try again later"
            detail = f"no answer after {self._timeout_s:g} seconds"
            raise Refusal(503, detail, hint=hint, headers={"Retry-After": "5"}) from None
        metrics.answered(champion.record.catalog, answers)
        return answers

    def close(self) -> None:
        """Finish what was begun, and take nothing new."""
        self._pool.shutdown(wait=True)

    async def _together(self, champion: Champion, products: Products, chars: int, reasons: bool) -> Answers:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(champion, products, reasons, chars, loop.time() + self._timeout_s, loop.create_future())
        self._waiting.append(waiting)
        if not self._busy:
            self._busy = True
            # Not now but after everything that has just arrived: that is what makes a batch.
            loop.call_soon(self._next_batch)
        return await waiting.answer

    def _next_batch(self) -> None:
        batch = self._take()
        self._busy = bool(batch)
        if batch:
            _settle(batch, _answers_of(batch))
            asyncio.get_running_loop().call_soon(self._next_batch)

    def _take(self) -> list[_Waiting]:
        """The longest run of waiting requests that can be answered together; those that gave up are passed over."""
        batch: list[_Waiting] = []
        rows = chars = 0
        now = asyncio.get_running_loop().time()
        for taken, waiting in enumerate(self._waiting):
            if waiting.answer.done():
                continue
            if waiting.until < now:  # a timer for each would cost a request more than its place in the queue
                waiting.answer.set_exception(TimeoutError())
                continue
            rows += len(waiting.products)
            chars += waiting.chars
            first = batch[0] if batch else waiting
            fits = waiting.champion is first.champion and waiting.reasons == first.reasons
            if batch and not (fits and rows <= FEW and chars < INLINE_CHARS):
                self._waiting = self._waiting[taken:]
                return batch
            batch.append(waiting)
        self._waiting = []
        return batch


def _answers_of(batch: list[_Waiting]) -> list[Answers | BaseException]:
    """The answer of each request; where the batch fails, each on its own, so that only the guilty one fails."""
    champion, reasons = batch[0].champion, batch[0].reasons
    if len(batch) == 1:
        return [_attempt(partial(champion.answer, batch[0].products, reasons=reasons))]
    together = [product for waiting in batch for product in waiting.products]
    answers = _attempt(partial(champion.answer, together, reasons=reasons))
    if isinstance(answers, BaseException):
        return [_attempt(partial(champion.answer, waiting.products, reasons=reasons)) for waiting in batch]
    starts = [0]
    for waiting in batch:
        starts.append(starts[-1] + len(waiting.products))
    return [answers.part(start, len(waiting.products)) for start, waiting in zip(starts, batch, strict=False)]


def _attempt(work: Callable[[], Answers]) -> Answers | BaseException:
    try:
        return work()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - be it a panic of a library: handed to the request that asked for it
        return error


def _settle(batch: list[_Waiting], answers: Sequence[Answers | BaseException]) -> None:
    for waiting, answer in zip(batch, answers, strict=True):
        if waiting.answer.done():
            continue  # its client has left
        if isinstance(answer, BaseException):
            waiting.answer.set_exception(answer)
        else:
            waiting.answer.set_result(answer)


def _text_chars(products: Products) -> int:
    return sum(_chars(value) for product in products for value in product.values())


def _chars(value: Any) -> int:
    if type(value) is str:
        return len(value)
    return sum(len(entry) for entry in value if type(entry) is str) if type(value) is list else 0
