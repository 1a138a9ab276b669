"""Changing what an object carries, and copying it inside the service; each checked by looking at what came of it."""

from __future__ import annotations

import msgspec

from runner.errors import EntryCode, EntryError
from runner.model.entry import Entry

from .client import ALWAYS, Condition, ConditionFailedError, Description, ObjectClient, ObjectFacts
from .faults import shown
from .metadata import Names, description_of, posix_of
from .writing import ContentWriter, Standing


class Copies:
    """The requests of one bucket that move no content."""

    def __init__(self, client: ObjectClient, writer: ContentWriter, names: Names, *, posix: bool) -> None:
        self._client = client
        self._writer = writer
        self._names = names
        self._posix = posix

    def describe(self, facts: ObjectFacts, entry: Entry) -> None:
        """Set what `entry` says, where it is not so already. Raises ConditionFailedError."""
        link = posix_of(facts.metadata, self._names).link
        description = description_of(entry, link, self._names, posix=self._posix, standing=facts)
        if not _is_so(facts, description):
            self.described(facts, description)

    def described(self, facts: ObjectFacts, description: Description) -> ObjectFacts:
        """Replace what an object carries; its facts afterwards. Raises ConditionFailedError."""
        features = self._client.features
        if not features.describe_if_match:
            present = self._client.head(facts.key)
            if present is None or present.etag != facts.etag:
                raise ConditionFailedError(facts.key)
        condition = Condition(etag=facts.etag) if features.copy_if_match else ALWAYS
        stored = self._client.describe(facts, description, condition)
        return msgspec.structs.replace(
            facts,
            etag=stored.etag or facts.etag,
            metadata=description.metadata,
            headers=description.headers,
        )

    def copy(
        self,
        source: ObjectClient,
        facts: ObjectFacts,
        key: str,
        path: str,
        description: Description | None,
        standing: Standing,
    ) -> None:
        """Copy inside the service to `key`, that of `path`. Raises ConditionFailedError, STALE."""
        features = self._client.features
        condition = self._writer.condition(
            key, path, standing, features.copy_if_absent, features.copy_if_match
        )
        self._client.copy(source, facts, key, description, condition)
        if not features.copy_source_if_match:
            after = source.head(facts.key)
            if after is None or after.etag != facts.etag:
                raise ConditionFailedError(facts.key)
        self._check(key, path, facts)

    def _check(self, key: str, path: str, facts: ObjectFacts) -> None:
        """Size, and MD5 where both objects were written at once."""
        present = self._client.head(key)
        wrong = present is None or present.size_bytes != facts.size_bytes
        if present is not None and self._client.features.etag_is_md5 and "-" not in (facts.etag or "-"):
            wrong = wrong or (present.etag != facts.etag and "-" not in (present.etag or "-"))
        if wrong:
            message = f"{shown(path)}: the copy is not what the original is"
            raise EntryError(EntryCode.CHECKSUM_FAILURE, path, message)

    def delete(self, key: str, etag: str | None) -> None:
        """Remove an object that was just looked at; where the service can, only if it still is that one."""
        self._client.delete(key, etag if self._client.features.delete_if_match else None)


def _is_so(facts: ObjectFacts, description: Description) -> bool:
    tags = description.tags
    return (
        dict(description.metadata) == dict(facts.metadata or ())
        and description.headers == (facts.headers or ())
        and (tags is None or tags == facts.tags)
    )
