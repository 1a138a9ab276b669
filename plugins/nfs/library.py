"""libnfs, loaded when the first location without a mount is opened."""

from __future__ import annotations

import ctypes
import functools
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_uint32, c_uint64, c_void_p
from typing import Any

from runner.errors import MissingExtraError

from . import structures

SONAMES = ("libnfs.so.13",)
"""Binary interfaces whose structures are those of structures.py: libnfs 4.0. Others are refused, not guessed."""

RPC_CALLBACK = CFUNCTYPE(None, c_void_p, c_int, c_void_p, c_void_p)
NFS_CALLBACK = CFUNCTYPE(None, c_int, c_void_p, c_void_p, c_void_p)

PROCEDURES = (
    *("getattr", "setattr", "lookup", "readlink", "read", "write", "create", "mkdir", "symlink", "mknod"),
    *("remove", "rmdir", "rename", "link", "readdirplus", "fsstat", "pathconf", "commit"),
)

_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "nfs_init_context": (c_void_p, []),
    "nfs_destroy_context": (None, [c_void_p]),
    "nfs_set_version": (c_int, [c_void_p, c_int]),
    "nfs_set_autoreconnect": (None, [c_void_p, c_int]),
    "nfs_set_auth": (None, [c_void_p, c_void_p]),
    "nfs_parse_url_incomplete": (c_void_p, [c_void_p, c_char_p]),
    "nfs_destroy_url": (None, [c_void_p]),
    "nfs_mount_async": (c_int, [c_void_p, c_char_p, c_char_p, NFS_CALLBACK, c_void_p]),
    "nfs_get_rootfh": (POINTER(structures.Handle), [c_void_p]),
    "nfs_get_rpc_context": (c_void_p, [c_void_p]),
    "nfs_get_error": (c_char_p, [c_void_p]),
    "nfs_get_fd": (c_int, [c_void_p]),
    "nfs_which_events": (c_int, [c_void_p]),
    "nfs_service": (c_int, [c_void_p, c_int]),
    "nfs_get_readmax": (c_uint64, [c_void_p]),
    "nfs_get_writemax": (c_uint64, [c_void_p]),
    "libnfs_authunix_create": (c_void_p, [c_char_p, c_uint32, c_uint32, c_uint32, POINTER(c_uint32)]),
    **{
        f"rpc_nfs3_{name}_async": (c_int, [c_void_p, RPC_CALLBACK, c_void_p, c_void_p]) for name in PROCEDURES
    },
}


@functools.cache
def library() -> Any:
    """The library with its prototypes set. Raises MissingExtraError."""
    for soname in SONAMES:
        try:
            loaded = ctypes.CDLL(soname)
        except OSError:
            continue
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(loaded, name)
            function.restype = result
            function.argtypes = arguments
        return loaded
    raise MissingExtraError(
        f"an nfs location without `mounted_at` needs libnfs 4.0 ({SONAMES[0]}), which is not installed",
        remedy="Install it (Debian, Ubuntu: apt install libnfs13), or mount the export and set `mounted_at`.",
    )
