"""The C structures of libnfs's NFSv3 calls (libnfs-raw-nfs.h, generated from RFC 1813's XDR by rpcgen).

Named as in RFC 1813. They hold for libnfs 4 and 5 on every machine: ctypes aligns as the C compiler does.
"""

from __future__ import annotations

from ctypes import POINTER, Structure, Union, c_char_p, c_int, c_ubyte, c_uint32, c_uint64, c_void_p
from typing import Any, ClassVar


class Opaque(Structure):
    """A counted run of bytes: nfs_fh3, and the data of READ and WRITE."""

    _fields_: ClassVar[Any] = [("length", c_uint32), ("value", c_void_p)]


class DirOpArgs(Structure):
    """diropargs3: a name in a directory."""

    _fields_: ClassVar[Any] = [("directory", Opaque), ("name", c_char_p)]


class Time(Structure):
    """nfstime3: unsigned seconds since 1970, and nanoseconds."""

    _fields_: ClassVar[Any] = [("seconds", c_uint32), ("nanoseconds", c_uint32)]


class Attributes(Structure):
    """fattr3."""

    _fields_: ClassVar[Any] = [
        ("type", c_int),
        ("mode", c_uint32),
        ("nlink", c_uint32),
        ("uid", c_uint32),
        ("gid", c_uint32),
        ("size", c_uint64),
        ("used", c_uint64),
        ("rdev_major", c_uint32),
        ("rdev_minor", c_uint32),
        ("fsid", c_uint64),
        ("fileid", c_uint64),
        ("atime", Time),
        ("mtime", Time),
        ("ctime", Time),
    ]


class PostOpAttributes(Structure):
    """post_op_attr."""

    _fields_: ClassVar[Any] = [("follow", c_uint32), ("attributes", Attributes)]


class WccAttributes(Structure):
    """wcc_attr."""

    _fields_: ClassVar[Any] = [("size", c_uint64), ("mtime", Time), ("ctime", Time)]


class PreOpAttributes(Structure):
    """pre_op_attr."""

    _fields_: ClassVar[Any] = [("follow", c_uint32), ("attributes", WccAttributes)]


class WccData(Structure):
    """wcc_data: attributes before and after."""

    _fields_: ClassVar[Any] = [("before", PreOpAttributes), ("after", PostOpAttributes)]


class PostOpHandle(Structure):
    """post_op_fh3."""

    _fields_: ClassVar[Any] = [("follow", c_uint32), ("handle", Opaque)]


class SetValue(Structure):
    """set_mode3, set_uid3, set_gid3."""

    _fields_: ClassVar[Any] = [("set_it", c_uint32), ("value", c_uint32)]


class SetSize(Structure):
    """set_size3."""

    _fields_: ClassVar[Any] = [("set_it", c_uint32), ("value", c_uint64)]


class SetTime(Structure):
    """set_atime, set_mtime: 0 do not change, 1 the server's time, 2 this time."""

    _fields_: ClassVar[Any] = [("set_it", c_int), ("value", Time)]


class SetAttributes(Structure):
    """sattr3."""

    _fields_: ClassVar[Any] = [
        ("mode", SetValue),
        ("uid", SetValue),
        ("gid", SetValue),
        ("size", SetSize),
        ("atime", SetTime),
        ("mtime", SetTime),
    ]


# -- arguments -----------------------------------------------------------------------------------------------


class ObjectArgs(Structure):
    """GETATTR3args, READLINK3args, FSSTAT3args, PATHCONF3args."""

    _fields_: ClassVar[Any] = [("object", Opaque)]


class NameArgs(Structure):
    """LOOKUP3args, REMOVE3args, RMDIR3args."""

    _fields_: ClassVar[Any] = [("what", DirOpArgs)]


class Guard(Structure):
    """sattrguard3."""

    _fields_: ClassVar[Any] = [("check", c_uint32), ("ctime", Time)]


class SetattrArgs(Structure):
    """SETATTR3args."""

    _fields_: ClassVar[Any] = [("object", Opaque), ("attributes", SetAttributes), ("guard", Guard)]


class _How(Union):
    _fields_: ClassVar[Any] = [("attributes", SetAttributes), ("verifier", c_ubyte * 8)]


class CreateArgs(Structure):
    """CREATE3args; mode 1 is GUARDED."""

    _fields_: ClassVar[Any] = [("where", DirOpArgs), ("mode", c_int), ("how", _How)]


class MkdirArgs(Structure):
    """MKDIR3args."""

    _fields_: ClassVar[Any] = [("where", DirOpArgs), ("attributes", SetAttributes)]


class SymlinkArgs(Structure):
    """SYMLINK3args."""

    _fields_: ClassVar[Any] = [("where", DirOpArgs), ("attributes", SetAttributes), ("target", c_char_p)]


class MknodArgs(Structure):
    """MKNOD3args; major and minor are read for devices only."""

    _fields_: ClassVar[Any] = [
        ("where", DirOpArgs),
        ("type", c_int),
        ("attributes", SetAttributes),
        ("major", c_uint32),
        ("minor", c_uint32),
    ]


class ReadArgs(Structure):
    """READ3args, COMMIT3args."""

    _fields_: ClassVar[Any] = [("file", Opaque), ("offset", c_uint64), ("count", c_uint32)]


class WriteArgs(Structure):
    """WRITE3args."""

    _fields_: ClassVar[Any] = [
        ("file", Opaque),
        ("offset", c_uint64),
        ("count", c_uint32),
        ("stable", c_int),
        ("content", Opaque),
    ]


class RenameArgs(Structure):
    """RENAME3args."""

    _fields_: ClassVar[Any] = [("source", DirOpArgs), ("target", DirOpArgs)]


class LinkArgs(Structure):
    """LINK3args."""

    _fields_: ClassVar[Any] = [("file", Opaque), ("link", DirOpArgs)]


class ReaddirplusArgs(Structure):
    """READDIRPLUS3args."""

    _fields_: ClassVar[Any] = [
        ("directory", Opaque),
        ("cookie", c_uint64),
        ("verifier", c_ubyte * 8),
        ("dircount", c_uint32),
        ("maxcount", c_uint32),
    ]


# -- results: a status, then what follows where the status is 0 ----------------------------------------------


class LookupOk(Structure):
    _fields_: ClassVar[Any] = [
        ("object", Opaque),
        ("attributes", PostOpAttributes),
        ("directory", PostOpAttributes),
    ]


class CreateOk(Structure):
    """CREATE, MKDIR, SYMLINK, MKNOD."""

    _fields_: ClassVar[Any] = [
        ("handle", PostOpHandle),
        ("attributes", PostOpAttributes),
        ("directory", WccData),
    ]


class ReadOk(Structure):
    _fields_: ClassVar[Any] = [
        ("attributes", PostOpAttributes),
        ("count", c_uint32),
        ("eof", c_uint32),
        ("content", Opaque),
    ]


class WriteOk(Structure):
    _fields_: ClassVar[Any] = [
        ("wcc", WccData),
        ("count", c_uint32),
        ("committed", c_int),
        ("verifier", c_ubyte * 8),
    ]


class CommitOk(Structure):
    _fields_: ClassVar[Any] = [("wcc", WccData), ("verifier", c_ubyte * 8)]


class ReadlinkOk(Structure):
    _fields_: ClassVar[Any] = [("attributes", PostOpAttributes), ("target", c_char_p)]


class FsstatOk(Structure):
    _fields_: ClassVar[Any] = [
        ("attributes", PostOpAttributes),
        ("tbytes", c_uint64),
        ("fbytes", c_uint64),
        ("abytes", c_uint64),
        ("tfiles", c_uint64),
        ("ffiles", c_uint64),
        ("afiles", c_uint64),
        ("invarsec", c_uint32),
    ]


class PathconfOk(Structure):
    _fields_: ClassVar[Any] = [
        ("attributes", PostOpAttributes),
        ("linkmax", c_uint32),
        ("name_max", c_uint32),
        ("no_trunc", c_uint32),
        ("chown_restricted", c_uint32),
        ("case_insensitive", c_uint32),
        ("case_preserving", c_uint32),
    ]


class DirectoryEntry(Structure):
    """entryplus3: a linked list."""


DirectoryEntry._fields_ = [
    ("fileid", c_uint64),
    ("name", c_char_p),
    ("cookie", c_uint64),
    ("attributes", PostOpAttributes),
    ("handle", PostOpHandle),
    ("next", POINTER(DirectoryEntry)),
]


class ReaddirplusOk(Structure):
    _fields_: ClassVar[Any] = [
        ("directory", PostOpAttributes),
        ("verifier", c_ubyte * 8),
        ("entries", POINTER(DirectoryEntry)),
        ("eof", c_uint32),
    ]


class Handle(Structure):
    """struct nfs_fh of libnfs-raw.h."""

    _fields_: ClassVar[Any] = [("length", c_int), ("value", c_void_p)]
