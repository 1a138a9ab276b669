"""Canonical security descriptors: equal meaning, equal bytes; damage is told, never guessed at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_plugins.smb.security import canonical_sacl, canonical_security, sid_text, to_set
from smb.smb_support import ace, descriptor

OWNER, GROUP, EVERYONE = "S-1-5-21-1-2-3-1000", "S-1-5-32-544", "S-1-1-0"
ALLOW, INHERITED_ALLOW = ace(0, 0, 0x1F01FF, OWNER), ace(0, 0x10, 0x1200A9, EVERYONE)
PRESENT, PROTECTED, AUTO_INHERITED = 0x4, 0x1000, 0x400
SACL_PRESENT = 0x10

PLAIN = descriptor(owner=OWNER, group=GROUP, dacl=[ALLOW, INHERITED_ALLOW], control=PRESENT)

ALIKE = [
    ("with gaps", descriptor(owner=OWNER, group=GROUP, dacl=[ALLOW, INHERITED_ALLOW], control=PRESENT, gap=b"\xff" * 12)),
    ("lists first", descriptor(owner=OWNER, group=GROUP, dacl=[ALLOW, INHERITED_ALLOW], control=PRESENT, dacl_first=True)),
    (
        "inheritance ran, owner defaulted",
        descriptor(owner=OWNER, group=GROUP, dacl=[ALLOW, INHERITED_ALLOW], control=PRESENT | AUTO_INHERITED | 0x3),
    ),
    ("trailing bytes", PLAIN + bytes(100)),
]  # fmt: skip

DIFFERENT = [
    ("another owner", descriptor(owner=EVERYONE, group=GROUP, dacl=[ALLOW, INHERITED_ALLOW], control=PRESENT)),
    ("no group", descriptor(owner=OWNER, dacl=[ALLOW, INHERITED_ALLOW], control=PRESENT)),
    ("another order", descriptor(owner=OWNER, group=GROUP, dacl=[INHERITED_ALLOW, ALLOW], control=PRESENT)),
    ("protected", descriptor(owner=OWNER, group=GROUP, dacl=[ALLOW, INHERITED_ALLOW], control=PRESENT | PROTECTED)),
    ("empty list: nothing is allowed", descriptor(owner=OWNER, group=GROUP, dacl=[], control=PRESENT)),
    ("null list: everything is allowed", descriptor(owner=OWNER, group=GROUP, control=PRESENT)),
    ("no list", descriptor(owner=OWNER, group=GROUP)),
    (
        "not inherited",
        descriptor(owner=OWNER, group=GROUP, dacl=[ALLOW, ace(0, 0, 0x1200A9, EVERYONE)], control=PRESENT),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("what", "raw"), ALIKE)
def test_equal_meaning_gives_equal_bytes(what: str, raw: bytes) -> None:
    assert canonical_security(raw) == canonical_security(PLAIN), what


@pytest.mark.parametrize(("what", "raw"), DIFFERENT)
def test_another_meaning_gives_other_bytes(what: str, raw: bytes) -> None:
    assert canonical_security(raw) != canonical_security(PLAIN), what


def test_all_meanings_differ_from_each_other() -> None:
    found = [canonical_security(raw) for _, raw in DIFFERENT]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("raw", [raw for _, raw in (*ALIKE, *DIFFERENT)])
def test_the_canonical_form_is_its_own(raw: bytes) -> None:
    canonical = canonical_security(raw)
    assert canonical_security(canonical) == canonical
    assert canonical_security(to_set(canonical)) == canonical


def test_the_server_is_asked_to_remember_inheritance_only_where_entries_are_inherited() -> None:
    inherited = to_set(canonical_security(PLAIN))
    own = to_set(canonical_security(descriptor(owner=OWNER, dacl=[ALLOW], control=PRESENT)))
    assert inherited[2:4] != canonical_security(PLAIN)[2:4]
    assert own == canonical_security(own)


def test_an_audit_list_that_audits_nothing_has_one_form() -> None:
    forms = [
        descriptor(sacl=[], control=SACL_PRESENT),
        descriptor(control=SACL_PRESENT),
        descriptor(),
        descriptor(owner=OWNER, dacl=[ALLOW], control=PRESENT),
    ]
    assert len({canonical_sacl(raw) for raw in forms}) == 1
    audits = descriptor(sacl=[ace(2, 0xC0, 0x1F01FF, EVERYONE)], control=SACL_PRESENT)
    assert canonical_sacl(audits) != canonical_sacl(forms[0])
    assert canonical_sacl(canonical_sacl(audits)) == canonical_sacl(audits)


def test_owners_are_shown_as_people_write_them() -> None:
    canonical = canonical_security(PLAIN)
    assert (sid_text(canonical), sid_text(canonical, group=True)) == (OWNER, GROUP)


@given(st.binary(max_size=200) | st.builds(lambda cut: PLAIN[:cut], st.integers(0, len(PLAIN))))
def test_damage_is_a_value_error(raw: bytes) -> None:
    for canonical in (canonical_security, canonical_sacl):
        try:
            canonical(raw)
        except ValueError:
            continue


@given(st.integers(0, len(PLAIN) - 1), st.integers(0, 255))
def test_a_changed_byte_is_told_or_makes_another_value(position: int, value: int) -> None:
    damaged = PLAIN[:position] + bytes([value]) + PLAIN[position + 1 :]
    try:
        canonical = canonical_security(damaged)
    except ValueError:
        return
    assert canonical_security(canonical) == canonical
