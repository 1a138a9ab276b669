"""What object stores have in common: how paths, folders, links and POSIX metadata map onto flat keys.

A driver of one service gives an `ObjectClient` (client.py: what that service can do with keys), and gets a Location.
"""
