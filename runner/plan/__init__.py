"""Differences -> a plan: decided actions in stages, guards, the plan file and its summary.

build (what to do about each difference), guards (what stops a plan), file (writing and reading it).
"""
