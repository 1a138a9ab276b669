"""What the tests of the S3 driver share."""

from __future__ import annotations

from typing import Any

from servers.s3_endpoint import S3Endpoint

from runner.model.task import Secret


def plain_options(endpoint: S3Endpoint, **options: Any) -> dict[str, Any]:
    """Options of a fresh bucket as a schema sees them: secrets as text, no type."""
    given = endpoint.location(**options)
    del given["type"]
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in given.items()}
