"""Faults on purpose: what becomes of files, and of what the runner says of them, when something fails.

sweep    real runs in which one system call fails, lies or kills (sweep.py, scenes.py, judge.py, strace.py, zygote.py)
seam     runs in this process in which one operation on files fails (seam.py, seam_cases.py, inprocess.py)
states   what a power cut may leave of such a run (crash_states.py, power_states.py)
model    edits and faults made up by Hypothesis, one after the other (model.py)
power    real runs that end with a power cut (power.py, disks.py)
lint     in which order a real run writes, flushes and names (lint.py)
mutants  the command done wrong on purpose, which these have to find (mutants.py, mutations.py)

docs/faults.md says how to run them.
"""
