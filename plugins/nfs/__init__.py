"""Locations of the types `nfs`, `efs`, `fsx_openzfs`, `fsx_ontap` and `fsx_lustre`.

Two ways: through a mount that is proved to be the one meant (`mounted.py`), or, for `nfs`, without any mount and
without root, by NFSv3 calls on file handles through libnfs (`location.py`).
"""
