"""Security descriptors in one canonical layout, so that equal bytes mean equal owners and lists. Pure.

Layout ([MS-DTYP] 2.4.6, self-relative): header, owner, group, then the list, without gaps. Kept: the SIDs, the entries
with their order and flags, whether the list is protected from inheritance, whether it is absent, null (everything
allowed) or empty (nothing allowed). Left out, for servers fill it in as they like: who defaulted what, whether
inheritance ran (SE_DACL_AUTO_INHERITED), the revision of the list beyond what its entries need, padding.
"""

from __future__ import annotations

import struct

_HEADER = struct.Struct("<BBHIIII")
_LIST = struct.Struct("<BBHHH")
_SELF_RELATIVE = 0x8000
_DACL_PRESENT, _SACL_PRESENT = 0x0004, 0x0010
_DACL_PROTECTED, _SACL_PROTECTED = 0x1000, 0x2000
_DACL_INHERIT_REQUIRED, _SACL_INHERIT_REQUIRED = 0x0100, 0x0200
_DACL_INHERITED, _SACL_INHERITED = 0x0400, 0x0800
_OBJECT_ENTRIES = frozenset({0x05, 0x06, 0x07, 0x08, 0x0B, 0x0C, 0x0F, 0x10})
_INHERITED_ENTRY = 0x10


def canonical_security(raw: bytes) -> bytes:
    """Owner, group and DACL of a descriptor. Raises ValueError when it is damaged."""
    control, owner, group, _, dacl = _fields(raw)
    kept = control & (_DACL_PRESENT | _DACL_PROTECTED)
    if not control & _DACL_PRESENT:
        dacl = 0
    return _packed(
        kept, _sid(raw, owner), _sid(raw, group), _entries(raw, dacl) if dacl else None, is_sacl=False
    )


def canonical_sacl(raw: bytes) -> bytes:
    """The SACL of a descriptor; a null or absent one is the same as an empty one: nothing is audited."""
    control, _, _, sacl, _ = _fields(raw)
    entries = _entries(raw, sacl) if sacl and control & _SACL_PRESENT else []
    return _packed((control & _SACL_PROTECTED) | _SACL_PRESENT, b"", b"", entries, is_sacl=True)


def to_set(canonical: bytes) -> bytes:
    """The descriptor to send: where entries are inherited, the server is asked to remember that inheritance ran."""
    control, _, _, sacl, dacl = _fields(canonical)
    more = 0
    if dacl and any(entry[1] & _INHERITED_ENTRY for entry in _entries(canonical, dacl)):
        more |= _DACL_INHERIT_REQUIRED | _DACL_INHERITED
    if sacl and any(entry[1] & _INHERITED_ENTRY for entry in _entries(canonical, sacl)):
        more |= _SACL_INHERIT_REQUIRED | _SACL_INHERITED
    return canonical[:2] + struct.pack("<H", control | more) + canonical[4:]


def sid_text(canonical: bytes, *, group: bool = False) -> str | None:
    """The owner's (or group's) SID as people write it: S-1-5-32-544."""
    _, owner, group_offset, _, _ = _fields(canonical)
    sid = _sid(canonical, group_offset if group else owner)
    if not sid:
        return None
    authority = int.from_bytes(sid[2:8], "big")
    parts = struct.unpack_from(f"<{sid[1]}I", sid, 8)
    return "-".join(["S", str(sid[0]), str(authority), *map(str, parts)])


def _fields(raw: bytes) -> tuple[int, int, int, int, int]:
    """(control, offsets of owner, group, SACL and DACL; 0 = not there)."""
    if len(raw) < _HEADER.size:
        raise ValueError("a security descriptor is too short")
    revision, _, control, owner, group, sacl, dacl = _HEADER.unpack_from(raw)
    if revision != 1 or not control & _SELF_RELATIVE:
        raise ValueError("a security descriptor is of an unknown kind")
    return control, owner, group, sacl, dacl


def _sid(raw: bytes, offset: int) -> bytes:
    if offset == 0:
        return b""
    if offset + 8 > len(raw) or raw[offset] != 1 or raw[offset + 1] > 15:
        raise ValueError("a security descriptor holds a damaged SID")
    sid = raw[offset : offset + 8 + 4 * raw[offset + 1]]
    if len(sid) != 8 + 4 * raw[offset + 1]:
        raise ValueError("a security descriptor holds a damaged SID")
    return sid


def _entries(raw: bytes, offset: int) -> list[bytes]:
    if offset + _LIST.size > len(raw):
        raise ValueError("a security descriptor holds a damaged list")
    _, _, size, count, _ = _LIST.unpack_from(raw, offset)
    end = min(len(raw), offset + size)
    position = offset + _LIST.size
    entries = []
    for _ in range(count):
        if position + 4 > end:
            raise ValueError("a security descriptor holds a damaged list")
        length = struct.unpack_from("<H", raw, position + 2)[0]
        if length < 4 or position + length > end:
            raise ValueError("a security descriptor holds a damaged list")
        entries.append(raw[position : position + length])
        position += length
    return entries


def _packed(control: int, owner: bytes, group: bytes, entries: list[bytes] | None, *, is_sacl: bool) -> bytes:
    position = _HEADER.size
    owner_offset = position if owner else 0
    position += len(owner)
    group_offset = position if group else 0
    position += len(group)
    block = b""
    if entries is not None:
        revision = 4 if any(entry[0] in _OBJECT_ENTRIES for entry in entries) else 2
        body = b"".join(entries)
        block = _LIST.pack(revision, 0, _LIST.size + len(body), len(entries), 0) + body
    list_offset = position if entries is not None else 0
    sacl, dacl = (list_offset, 0) if is_sacl else (0, list_offset)
    header = _HEADER.pack(1, 0, control | _SELF_RELATIVE, owner_offset, group_offset, sacl, dacl)
    return header + owner + group + block
