"""Differences -> a plan: decided actions in stages, guards, the plan file and its summary.

prepare (from two open locations to a plan), build (what to do about each difference), sums and highlights (what that adds
up to), divide and folder (big plans side by side), guards (what stops a plan), file (writing and reading it), preview
(what a plan file shows), explain (why one path is or is not in it).
"""
