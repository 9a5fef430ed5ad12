"""Settings of one process, read from AISLE_* environment variables and an optional .env file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that may differ from one machine to the next. docs/settings.md lists each by name."""

    model_config = SettingsConfigDict(env_prefix="AISLE_", env_file=".env", extra="ignore", frozen=True)

    home: str = Field("./var", description="Where all data lies: a folder.")
    catalogs: Path | None = Field(None, description="A folder of your own catalogue TOML files, looked at first.")
    runner: Literal["threads", "processes"] = Field(
        "threads", description="Task runner that partitions are mapped over in Prefect flow runs."
    )
    workers: int = Field(2, ge=1, description="Partitions worked on at once.")
    batch_rows: int = Field(50_000, ge=100, description="Rows held in memory at once while reading and scoring.")
    max_line_mib: int = Field(32, ge=1, description="A longer line is a rejected row, in MiB.")
    memory_limit: str = Field("768MB", description="Memory that DuckDB may use before it spills to disk.")
    lock_wait_s: float = Field(600.0, ge=0, description="Seconds to wait for another run of the same catalogue.")
    retention_days: int = Field(7, ge=0, description="Days for which replaced files stay readable.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="Least level logged.")
    seed: int = Field(0, description="Seed of every random choice.")


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
