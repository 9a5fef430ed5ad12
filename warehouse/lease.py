"""The lock of a catalogue's run between machines: one object in the bucket, written by conditional puts alone.

Its holder writes it anew every now and then. Whoever finds that it has not been written for `AISLE_LEASE_S` seconds, by
the bucket's own clock, takes it over; of two machines that are set otherwise, the longer time counts. A holder that
comes back after that finds out at its next write.

The lease keeps machines from doing the same work twice. It is not what keeps their work apart: that are the conditional
commits, and the commit by which whoever takes over takes the next place in the log of runs (see `mirror`).
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from catalogs.remote import first_line
from core.errors import HomeUnusable, RunLocked, RunOvertaken
from warehouse.bucket import AGAIN, Bucket, Stored

BEATS = 4
"""Writes of the holder in the time in which it must have written once."""

POLL_S = 2.0

PATIENCE_S = 10.0
"""For one request at least, however short the lease."""

_CLOCK = "locks/clock"
"""An object that is written to learn what time the bucket has."""

FREE: dict[str, Any] = {"holder": None}


class Lease:
    """A lease that is held.

    Args:
        bucket: with requests about as short as a beat.
        key: of the object.
        cache: whose it is: the id of the cache that its run works in.
        lease_s: seconds without a write after which it may be taken over.

    Attributes:
        taken_over: whether it was another's who has not given it back.
        recorded: whether a run of the catalogue was ever recorded. Its object keeps that, apart from the log of runs.
    """

    def __init__(self, bucket: Bucket, key: str, cache: str, lease_s: float) -> None:
        self._bucket, self._key, self._lease_s = bucket, key, lease_s
        self._says: dict[str, Any] = {
            "holder": secrets.token_hex(8),
            "cache": cache,
            "who": f"{platform.node()}, process {os.getpid()}",
            "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "lease_s": lease_s,
        }
        self._writing, self._ended = threading.Lock(), threading.Event()
        self._etag = ""
        self._written = 0.0
        self._lost = False
        self.taken_over = False
        self.recorded = False

    def take(self, wait_s: float, what: str) -> None:
        """Wait until it is free, or has not been written for too long, and take it.

        Raises:
            RunLocked: somebody else held it for all of `wait_s` seconds.
            HomeUnusable: the object is no lease, or the bucket does not answer.
        """
        deadline = time.monotonic() + wait_s
        while not self._taken(found := self._bucket.read(self._key)):
            if time.monotonic() >= deadline:
                holder = self._said_by(found)
                raise RunLocked(
                    f"{what} is under way on {holder.get('who')}, since {holder.get('since')}; waited {wait_s:.0f} s",
                    where=f"{self._bucket.address}/{self._key}",
                    hint="wait for it to end, or set AISLE_LOCK_WAIT_S to wait longer",
                )
            time.sleep(min(POLL_S, self._lease_s / BEATS))

    def _taken(self, found: tuple[bytes, Stored] | None) -> bool:
        """Take it if it may be taken."""
        holder = self._said_by(found)
        # A run in the same cache holds that cache's file lock, which is ours now: the kernel says that it has ended.
        ended = holder["holder"] is None or holder["cache"] == self._says["cache"]
        # Machines may be set otherwise: who has to write every ten minutes is not dead after one.
        lease_s = max(self._lease_s, holder.get("lease_s", 0.0))
        if not (ended or (found is not None and self._is_old(found[1], lease_s))):
            return False
        try:
            self.recorded = bool(holder.get("recorded"))
            self._write(self._says | {"beat": time.time_ns()}, None if found is None else found[1].etag)
        except RunOvertaken:
            return False  # somebody was quicker
        self.taken_over = holder["holder"] is not None
        return True

    def _said_by(self, found: tuple[bytes, Stored] | None) -> dict[str, Any]:
        if found is None:
            return FREE
        try:
            says: dict[str, Any] = json.loads(found[0])
            held = {} if says["holder"] is None else {"cache": says["cache"], "lease_s": float(says.get("lease_s", 0))}
            return says | held
        except (ValueError, KeyError, TypeError) as error:
            raise HomeUnusable(
                f"is no readable lease ({type(error).__name__}: {first_line(error)})",
                where=f"{self._bucket.address}/{self._key}",
                hint='once no run of the catalogue is under way, put {"holder": null, "recorded": true} in its place',
            ) from error

    def _is_old(self, stored: Stored, lease_s: float) -> bool:
        """Whether it has not been written for too long. Only the bucket's clock is asked: those of machines differ."""
        self._bucket.write(_CLOCK, self._says["holder"].encode())
        asked = self._bucket.read(_CLOCK)
        return asked is not None and (asked[1].modified - stored.modified).total_seconds() > lease_s

    def _write(self, says: dict[str, Any], over: str | None) -> None:
        began = time.monotonic()
        self._etag = self._bucket.put(self._key, json.dumps(says | {"recorded": self.recorded}).encode(), over)
        self._written = began

    def renew(self) -> None:
        """Write it anew.

        Raises:
            RunOvertaken: somebody has taken it over.
            HomeUnusable: the bucket does not answer.
        """
        with self._writing:
            try:
                self._write(self._says | {"beat": time.time_ns()}, self._etag)
            except RunOvertaken as error:
                self._lost = True
                raise self._overtaken() from error

    def check(self) -> None:
        """Make sure that it is still ours; asks the bucket only when it has not been written for too long.

        Raises:
            RunOvertaken: somebody has taken it over.
            HomeUnusable: the bucket does not answer.
        """
        if self._lost:
            raise self._overtaken()
        if time.monotonic() - self._written > self._lease_s:
            self.renew()

    def _overtaken(self) -> RunOvertaken:
        return RunOvertaken(
            f"this run gave no sign of life for {self._lease_s:.0f} s, and another has taken its place",
            where=f"{self._bucket.address}/{self._key}",
            hint=AGAIN,
        )

    def beat(self) -> None:
        """Write it every now and then, until it is given back or lost."""
        while not self._ended.wait(self._lease_s / BEATS):
            try:
                self.renew()
            except RunOvertaken:
                return
            except HomeUnusable:
                continue  # tried again at the next beat

    def give_back(self) -> None:
        """Say that it is free, if it is still ours."""
        self._ended.set()
        # Where that fails, somebody else has it, or will when it has not been written for long enough.
        with self._writing, suppress(RunOvertaken, HomeUnusable):
            self._write(FREE, self._etag)


@contextmanager
def leased(address: str, catalog: str, cache: str, *, lease_s: float, wait_s: float) -> Iterator[Lease]:
    """Hold the lease of a catalogue's run."""
    bucket = Bucket(address, request_s=max(PATIENCE_S, lease_s / BEATS))
    lease = Lease(bucket, f"locks/run-{catalog}.json", cache, lease_s)
    lease.take(wait_s, f"a run of {catalog}")
    beating = threading.Thread(target=lease.beat, name=f"lease of {catalog}", daemon=True)
    beating.start()
    try:
        yield lease
    finally:
        lease.give_back()
        beating.join()
