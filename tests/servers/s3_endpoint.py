"""What the fixtures of S3 servers give a test: where the server is, keys that work, and fresh buckets."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from runner.model.task import Secret
from servers.process import module

ACCESS_KEY = "SYNCRUNNERTEST"
SECRET_KEY = "sync-runner-test-secret"  # long enough for every server here
REGION = "us-east-1"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class S3Endpoint:
    """A running S3 server. `process` is the one that answers."""

    name: str
    port: int
    access_key: str
    secret_key: str
    process: subprocess.Popen[bytes]
    region: str = REGION
    start_again: Callable[[], None] | None = None
    """Kills the server and starts it on the same port with the same objects; None where it would have lost them."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """A boto3 client with path style, closed afterwards: what a test looks behind the driver's back with."""
        client = s3_client(self.endpoint, self.access_key, self.secret_key, self.region)
        try:
            yield client
        finally:
            client.close()

    def new_bucket(self, **arguments: Any) -> str:
        """Make a bucket of a name that no other test has; `arguments` go to CreateBucket."""
        name = f"t{os.getpid()}-{next(_numbers)}"
        with self.client() as client:
            client.create_bucket(Bucket=name, **arguments)
        return name

    def location(self, **options: Any) -> dict[str, Any]:
        """Options (with "type") of an empty bucket of its own, as a location's settings hold them."""
        bucket = options.pop("bucket", None) or self.new_bucket()
        return {
            "type": "object_storage",
            "endpoint_url": self.endpoint,
            "bucket": bucket,
            "region": self.region,
            "access_key_id": Secret(self.access_key, "test"),
            "secret_access_key": Secret(self.secret_key, "test"),
            **options,
        }


def s3_client(endpoint: str, access_key: str, secret_key: str, region: str = REGION) -> Any:
    """A boto3 client that asks nobody but `endpoint` and retries nothing by itself."""
    module("boto3", "pip install boto3")
    import boto3
    from botocore.config import Config

    session = boto3.Session(
        aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=region
    )
    return session.client(
        "s3",
        endpoint_url=endpoint,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            connect_timeout=5,
            read_timeout=30,
            response_checksum_validation="when_required",
            proxies={},
        ),
    )
