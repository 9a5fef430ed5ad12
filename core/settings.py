"""Settings of one process, read from AISLE_* environment variables and an optional .env file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that may differ from one machine to the next. docs/settings.md lists each by name."""

    model_config = SettingsConfigDict(
        env_prefix="AISLE_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # some are secrets
    )

    home: str = Field("./var", description="Where all data lies: a folder, or `s3://bucket/prefix`.")
    cache: Path | None = Field(
        None, description="A folder for this machine's copies of S3 homes; else `aisle` in the user's cache folder."
    )
    lease_s: float = Field(
        60.0, ge=1, description="Seconds without a sign of life after which a run in an S3 home is taken for dead."
    )
    catalogs: Path | None = Field(None, description="A folder of your own catalogue TOML files, looked at first.")
    runner: Literal["threads", "processes", "dask"] = Field(
        "threads",
        description="What works on files and partitions side by side, in Prefect flow runs and without Prefect.",
    )
    dask_address: str | None = Field(
        None,
        description="Scheduler of the Dask cluster, `tcp://HOST:8786`; not set: `AISLE_WORKERS` processes on this "
        "machine, for as long as a step needs them.",
    )
    workers: int = Field(
        2, ge=1, description="Files or partitions worked on at once; a Dask scheduler has its own number."
    )
    batch_rows: int = Field(
        25_000, ge=100, description="Rows held in memory at once while reading; scoring holds twice as many."
    )
    max_line_mib: int = Field(32, ge=1, description="A longer line is a rejected row, in MiB.")
    memory_limit: str = Field("512MB", description="Memory that DuckDB may use before it spills to disk.")
    lock_wait_s: float = Field(600.0, ge=0, description="Seconds to wait for another run of the same catalogue.")
    retention_days: int = Field(7, ge=0, description="Days for which replaced files stay readable.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="Least level logged.")
    seed: int = Field(0, description="Seed of every random choice.")
    webhook: SecretStr | None = Field(
        None, description="An `http://` or `https://` address that every event is posted to as JSON (docs/alerts.md)."
    )
    api_host: str = Field(
        "127.0.0.1", description="Address that `aisle serve` listens on; in the images `0.0.0.0`, every one."
    )
    api_keys: SecretStr | None = Field(
        None, description="Keys that API clients must send one of, separated by commas; each at least 16 characters."
    )
    api_keys_file: Path | None = Field(None, description="A file of such keys, one a line, read when the API starts.")
    api_open: bool = Field(
        False, description="Let the API answer without keys on addresses other than loopback as well."
    )
    api_max_body_mib: int = Field(16, ge=1, description="Largest body of an API request, in MiB; not of a stream.")
    api_max_products: int = Field(5_000, ge=1, description="Most products in one API request; not in a stream.")
    api_max_text_chars: int = Field(200_000, ge=100, description="Longest text of one field in an API request.")
    api_max_waiting_mib: int = Field(
        128, ge=8, description="Request bodies that one API worker holds at once, in MiB; it answers 503 beyond."
    )
    api_timeout_s: float = Field(30.0, gt=0, description="Seconds an API request may take to arrive, and to answer.")
    api_rate_per_s: float = Field(
        0.0, ge=0, description="Requests a second that one API client may make of one worker; 0: any number."
    )
    api_refresh_s: float = Field(1.0, gt=0, le=5, description="Seconds between looks for a newly promoted champion.")

    @field_validator("webhook")
    @classmethod
    def _address(cls, value: SecretStr | None) -> SecretStr | None:
        address = "" if value is None else value.get_secret_value()
        if address and not address.startswith(("http://", "https://")):
            raise ValueError("not an address that begins with http:// or https://")
        return value if address else None  # Compose hands over variables that are not set as empty ones


class _Current:
    """The settings in force: those of this process, read once, or those that were sent along with work."""

    def __init__(self) -> None:
        self._sent: ContextVar[Settings | None] = ContextVar("settings of the process that sent the work", default=None)
        self._own = lru_cache(maxsize=1)(Settings)

    def __call__(self) -> Settings:
        return self._sent.get() or self._own()

    def __reduce__(self) -> str:
        return "get_settings"  # code that is sent to a worker means the settings that are in force there

    def cache_clear(self) -> None:
        """Have this process's settings read again."""
        self._own.cache_clear()

    @contextmanager
    def sent(self, settings: Settings) -> Iterator[None]:
        """Let settings of another process be in force, in this context only: a worker may serve several senders."""
        token = self._sent.set(settings)
        try:
            yield
        finally:
            self._sent.reset(token)


get_settings = _Current()
