"""A bucket's listing, page by page, and the proof that it is whole: nothing twice, nothing out of order, no loop."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future

from runner.errors import EntryCode, EntryError
from runner.model.entry import path_before
from runner.model.wire import terminal_safe

from .client import ObjectClient, ObjectFacts, Page

EMPTY_PAGES = 1000
"""So many in a row are no listing any more; a few are: services pass over what was deleted."""


def pages(client: ObjectClient, prefix: str, executor: Executor) -> Iterator[Page]:
    """All pages below `prefix`, the next one asked for while one is worked on. Memory: two pages.

    Raises EntryError when a page cannot be had, or when what the service lists cannot be true: keys outside of the
    prefix, twice or out of order (where the service promises one), a page that is announced and repeats the one before.
    """
    last: str | None = None
    token: str | None = None
    empty = 0
    page = client.list_page(prefix)
    while True:
        following: Future[Page] | None = None
        if page.next is not None:
            empty = 0 if page.objects else empty + 1
            if page.next == token or empty > EMPTY_PAGES:
                raise _untrue(prefix, "it goes on without end")
            token = page.next
            following = executor.submit(client.list_page, prefix, token=token)
        ordered = page.in_order
        for facts in page.objects:
            key = facts.key
            if last is not None and not path_before(last, key) and (ordered or last == key):
                said = "twice" if last == key else "out of order"
                raise _untrue(prefix, f"it holds {terminal_safe(key)} {said}")
            last = key
        # In order, the first and the last speak for all between them.
        looked_at = (page.objects[:1], page.objects[-1:]) if ordered else (page.objects,)
        if not all(facts.key.startswith(prefix) for objects in looked_at for facts in objects):
            raise _untrue(prefix, "it holds keys of other folders")
        yield page
        if following is None:
            return
        page = following.result()


def _untrue(prefix: str, what: str) -> EntryError:
    return EntryError(
        EntryCode.NOT_LISTED,
        prefix,
        f"the listing of {terminal_safe(prefix) or 'the bucket'} cannot be trusted: {what}",
    )


def first_below(client: ObjectClient, prefix: str, limit: int = 1) -> list[ObjectFacts]:
    """The first objects whose keys begin with `prefix`, in order."""
    return list(client.list_page(prefix, limit=limit).objects)
