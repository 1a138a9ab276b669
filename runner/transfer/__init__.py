"""A plan -> outcomes: each action carried out exactly as planned, or named as stale, failed or cancelled.

expect (is the state as planned?), perform (one action, with retries), batch (many, for a worker), coordinate
(stages, batches, journal), bandwidth (limits and timetables), quarantine (recoverable deletions).
"""
