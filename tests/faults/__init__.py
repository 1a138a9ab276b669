"""Faults on purpose: what becomes of files, and of what the runner says of them, when something fails."""
