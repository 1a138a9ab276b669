"""The driver for SSH file servers (SFTP).

Read in this order: address (what a declaration names), secure (host key, credentials: the SSH connection), packets
and wire (the SFTP protocol, many requests in flight), session (one connection, made anew when it broke), paths
(confinement to the root), facts, scan and follow (what is there), reading, drafts and publish (writing), attributes,
location (all of it as one Location), driver (the entry point). faults holds what a status of the server means.
"""
