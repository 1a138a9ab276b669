"""Times, DOS attributes, owners and lists, between two shares of a real server."""

from __future__ import annotations

import msgspec
import pytest
from runner_plugins.smb.messages import ARCHIVE, HIDDEN, READ_ONLY, SYSTEM
from runner_plugins.smb.security import canonical_sacl, canonical_security, sid_text
from servers.serve_samba import Samba
from smb.smb_support import (
    EVERYTHING,
    FREE,
    MTIME_NS,
    ace,
    content_of,
    descriptor,
    file_entry,
    opened,
    paths,
    put,
    stated,
)

from runner.errors import LocationUnavailableError
from runner.locations.protocol import OpenSettings
from runner.model.entry import Attributes, Entry, Kind

pytestmark = pytest.mark.servers

CREATED_NS = 1_234_567_890_987_654_300
EVERYONE, GAMES, GAMES_GROUP = "S-1-1-0", "S-1-22-1-5", "S-1-22-2-60"
FULL = 0x1F01FF


def security(dacl: list[bytes] | None, *, control: int = 0x4, owner: str = GAMES) -> bytes:
    return canonical_security(descriptor(owner=owner, group=GAMES_GROUP, dacl=dacl, control=control))


LISTS = [
    ("own entries", security([ace(0, 0, FULL, GAMES), ace(0, 0, 0x1200A9, EVERYONE)])),
    ("a denial first", security([ace(1, 0, 0x2, EVERYONE), ace(0, 0, FULL, GAMES)])),
    ("protected from inheritance", security([ace(0, 0, FULL, GAMES)], control=0x1004)),
    ("inherited entries", security([ace(0, 0x10, FULL, GAMES), ace(0, 0x10, 0x1200A9, EVERYONE)])),
    ("empty", security([])),
    ("null", security(None)),
    (
        "an owner this server does not know",
        security([ace(0, 0, FULL, EVERYONE)], owner="S-1-5-21-7-8-9-1001"),
    ),
]
AUDIT = canonical_sacl(descriptor(sacl=[ace(2, 0xC0, FULL, EVERYONE)], control=0x10))


@pytest.mark.parametrize("path", ["file", "folder/"])
@pytest.mark.parametrize(("what", "wanted"), LISTS)
def test_owner_and_list_travel_from_share_to_share(samba: Samba, path: str, what: str, wanted: bytes) -> None:
    """Default inheritance rewrites nothing: what is read at the far end equals what was read here."""
    kind = Kind.DIRECTORY if path.endswith("/") else Kind.FILE
    first = Entry(
        path,
        kind,
        size_bytes=None if kind is Kind.DIRECTORY else 1,
        mtime_ns=MTIME_NS,
        attributes=Attributes(
            created_ns=CREATED_NS, dos_attributes=HIDDEN | SYSTEM, security=wanted, sacl=AUDIT
        ),
    )
    content = None if kind is Kind.DIRECTORY else [b"x"]
    with opened(samba.settings(), EVERYTHING) as here, opened(samba.settings("second"), EVERYTHING) as there:
        assert here.put(first, content, None, FREE).refused == ()
        read = stated(here, path)
        assert read.attributes == first.attributes
        assert there.put(read, content, None, FREE).refused == ()
        arrived = stated(there, path)
        assert (arrived.attributes, arrived.mtime_ns) == (first.attributes, MTIME_NS)
        assert [found for found in there.scan() if found.path == path] == [arrived]


def test_what_the_list_makes_inherited_does_not_touch_what_is_written_later(samba: Samba) -> None:
    """A folder whose entries are inherited by new files: a file with a list of its own keeps that."""
    inheritable = security([ace(0, 0x3, FULL, EVERYONE)])
    own = security([ace(0, 0, FULL, GAMES)])
    with opened(samba.settings(), EVERYTHING) as location:
        folder = Entry("d/", Kind.DIRECTORY, attributes=Attributes(security=inheritable))
        assert location.put(folder, None, None, FREE).refused == ()
        put(location, "d/own", attributes=Attributes(security=own))
        put(location, "d/default")
        assert stated(location, "d/own").attributes.security == own  # type: ignore[union-attr]
        inherited = stated(location, "d/default").attributes.security  # type: ignore[union-attr]
        assert inherited not in (None, own)


def test_a_list_set_on_an_existing_file_alone(samba: Samba) -> None:
    with opened(samba.settings(), EVERYTHING) as location:
        before = put(location, "a")
        for _, wanted in LISTS:
            entry = msgspec.structs.replace(before, attributes=Attributes(security=wanted))
            assert location.set_attributes(entry, None).refused == ()
            after = stated(location, "a").attributes
            assert after is not None and after.security == wanted
        assert stated(location, "a").mtime_ns == before.mtime_ns
        assert content_of(location, "a") == b"content"


def test_an_owner_that_may_not_be_set_is_refused_and_the_list_is_set(samba: Samba) -> None:
    """games is not root: giving a file away is refused, and told."""
    wanted = security([ace(0, 0, FULL, GAMES), ace(0, 0, 0x1200A9, EVERYONE)], owner="S-1-22-1-1")
    asked = OpenSettings(attributes=frozenset({"security"}))
    with opened(samba.settings(user="games"), asked) as location:
        entry = file_entry("a", b"x", Attributes(security=wanted))
        assert location.put(entry, [b"x"], None, FREE).refused == ("security",)
        assert content_of(location, "a") == b"x"
        found = stated(location, "a").attributes
        assert found is not None and found.security is not None
        assert sid_text(found.security) != "S-1-22-1-1"
        assert found.security[-40:] == wanted[-40:]


def test_audit_lists_need_a_right_that_is_asked_for_at_open(samba: Samba) -> None:
    with pytest.raises(LocationUnavailableError, match="audit lists") as caught:
        with opened(samba.settings(user="games"), EVERYTHING):
            pass
    assert "SeSecurityPrivilege" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    "bits", [0, READ_ONLY, HIDDEN, SYSTEM, ARCHIVE, READ_ONLY | HIDDEN | SYSTEM | ARCHIVE]
)
def test_dos_attributes_come_back(samba: Samba, bits: int) -> None:
    with opened(samba.settings(), EVERYTHING) as location:
        entry = put(location, "a", attributes=Attributes(dos_attributes=bits, created_ns=CREATED_NS))
        assert entry.attributes is not None
        assert (entry.attributes.dos_attributes, entry.attributes.created_ns) == (bits, CREATED_NS)
        again = msgspec.structs.replace(entry, attributes=Attributes(dos_attributes=bits ^ HIDDEN))
        assert location.set_attributes(again, entry).refused == ()
        after = stated(location, "a").attributes
        assert after is not None
        assert (after.dos_attributes, after.created_ns) == (bits ^ HIDDEN, CREATED_NS)


def test_what_carries_no_attributes_gets_a_server_s_usual_ones(samba: Samba) -> None:
    """The draft's own name makes nothing hidden for good."""
    with opened(samba.settings(), EVERYTHING) as location:
        assert put(location, "a").attributes.dos_attributes == ARCHIVE  # type: ignore[union-attr]
        location.put(Entry("d/", Kind.DIRECTORY), None, None, FREE)
        assert stated(location, "d/").attributes.dos_attributes == 0  # type: ignore[union-attr]


def test_moving_keeps_all_metadata(samba: Samba) -> None:
    """As a quarantine does."""
    with opened(samba.settings(), EVERYTHING) as location:
        for bits in (0, READ_ONLY, HIDDEN, ARCHIVE):
            attributes = Attributes(created_ns=CREATED_NS, dos_attributes=bits, security=LISTS[0][1])
            entry = put(location, f"file-{bits}", attributes=attributes)
            location.rename(entry, f"away/file-{bits}")
            moved = stated(location, f"away/file-{bits}")
            assert (moved.attributes, moved.mtime_ns) == (entry.attributes, entry.mtime_ns)


def test_attributes_that_a_server_drops_are_told(samba: Samba) -> None:
    """Samba keeps R, H, S and A; a location that carries these alone compares these alone."""
    offline = 0x1000
    with opened(samba.settings(), EVERYTHING) as location:
        entry = file_entry("a", b"x", Attributes(dos_attributes=HIDDEN | offline))
        assert location.put(entry, [b"x"], None, FREE).refused == ("dos_attributes",)
    with opened(samba.settings(carried_attributes="RHSA"), EVERYTHING) as location:
        entry = file_entry("a", b"x", Attributes(dos_attributes=HIDDEN | offline))
        assert location.put(entry, [b"x"], None, FREE).refused == ()
        found = stated(location, "a").attributes
        assert found is not None and found.dos_attributes == HIDDEN


def test_read_only_files_are_replaced_and_removed(samba: Samba) -> None:
    """A file that carries R is managed like any other."""
    bits = Attributes(dos_attributes=READ_ONLY)
    with opened(samba.settings(), EVERYTHING) as location:
        standing = put(location, "a", b"old", bits)
        assert location.put(file_entry("a", b"new", bits), [b"new"], standing, FREE).refused == ()
        standing = stated(location, "a")
        assert standing.attributes is not None and standing.attributes.dos_attributes == READ_ONLY
        assert content_of(location, "a") == b"new"
        location.remove(standing)
        folder = Entry("d/", Kind.DIRECTORY, attributes=bits)
        location.put(folder, None, None, FREE)
        location.remove(stated(location, "d/"))
        assert paths(location) == [""]


def test_a_read_only_file_that_is_not_as_expected_keeps_its_attribute(samba: Samba) -> None:
    with opened(samba.settings(), EVERYTHING) as location:
        standing = put(location, "a", b"old", Attributes(dos_attributes=READ_ONLY))
        expected = msgspec.structs.replace(standing, size_bytes=99)
        for act in (
            lambda: location.remove(expected),
            lambda: location.put(file_entry("a", b"new"), [b"new"], expected, FREE),
        ):
            with pytest.raises(Exception, match="size"):
                act()
        assert stated(location, "a") == standing


def test_times_before_1601_are_refused_by_name(samba: Samba) -> None:
    ancient = -12_000_000_000 * 1_000_000_000
    with opened(samba.settings(), EVERYTHING) as location:
        entry = Entry("a", Kind.FILE, size_bytes=1, mtime_ns=ancient)
        assert location.put(entry, [b"x"], None, FREE).refused == ("mtime",)
        assert content_of(location, "a") == b"x"
