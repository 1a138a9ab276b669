"""Frozen values for the words of docs/glossary.md; no input, no output.

entry (what is listed), difference (how the sides differ), action (what is decided, and its outcome and finding),
task (what sync.yaml says), execution (what a report says), events (progress), wire (values as JSON lines).
"""
