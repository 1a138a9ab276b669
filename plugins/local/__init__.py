"""The driver for directories of this machine: local disks and mounted file systems.

Read in this order: address (what a declaration names), handles (confinement to the root), facts and scan
(what is there), content (reading and hashing), attributes and publish (writing), copying (file to file),
location (all of it as one Location), driver (the entry point). syscalls holds what the os module lacks,
faults what errno means.
"""
