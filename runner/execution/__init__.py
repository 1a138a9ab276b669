"""One run of a task: its context, phases, lock, journal, workers, and the report and history it leaves.

context (what every call is given), circumstances (what planning is told), record (the execution itself), phases, crew
(its workers), working (transfer and verification through them), locking (one writer), past (the last success), notebook
(what is left for history).
"""
