"""What a location on S3 has beyond any other object store."""

from __future__ import annotations

from collections.abc import Iterator

from runner.locations.protocol import Unfinished

from ..objects.faults import at_path
from ..objects.location import ObjectLocation


class S3Location(ObjectLocation):
    """Also of the role TellsUnfinished: S3 keeps the parts of an upload until it is completed or given up."""

    def unfinished(self) -> Iterator[Unfinished]:
        ours = {(record.upload.key, record.upload.id) for record in self._memory.uploads()}
        with at_path(""):
            for upload in self._client.list_uploads(self._prefix):
                if (upload.key, upload.id) not in ours:
                    yield Unfinished(upload.key[len(self._prefix) :], upload.begun_ns)
