"""An S3 server on loopback, which heeds conditions on writes as Amazon's does, and machines that use a home in it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import obstore
import pytest

from core.settings import get_settings

BUCKET = "shop"


@contextmanager
def serving(environment: pytest.MonkeyPatch) -> Iterator[str]:
    """Start a server with an empty bucket, and set AWS_* for it; gives its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        environment.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        environment.setenv(name, value)
    try:
        import boto3

        boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(Bucket=BUCKET)
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class Machines:
    """Machines with a copy each of one home on S3. This process is one of them at a time.

    Args:
        folder: of their copies.
        address: of the home.
        environment: of this process.
    """

    def __init__(self, folder: Path, address: str, environment: pytest.MonkeyPatch) -> None:
        self.folder, self.address, self._environment = folder, address, environment

    def become(self, name: str, **settings: str) -> Path:
        """Be the machine of that name; gives the folder of its copy."""
        from warehouse.home import get_home

        for setting in [setting for setting in os.environ if setting.startswith("AISLE_")]:
            if setting != "AISLE_CATALOGS":
                self._environment.delenv(setting)
        self._environment.setenv("AISLE_HOME", self.address)
        self._environment.setenv("AISLE_CACHE", str(self.folder / name))
        for setting, value in settings.items():
            self._environment.setenv(f"AISLE_{setting.upper()}", value)
        get_settings.cache_clear()
        return get_home(fresh=False).root

    def listed(self, below: str = "") -> list[str]:
        """Keys of the home in the bucket."""
        return sorted(one["path"] for page in obstore.list(self.store, below or None) for one in page)

    @property
    def store(self) -> Any:
        """The home in the bucket, past all that Aisle does."""
        from obstore.store import S3Store

        return S3Store(BUCKET, prefix=self.address.removeprefix(f"s3://{BUCKET}/"))
