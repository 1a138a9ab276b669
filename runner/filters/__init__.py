"""Which paths matter: DataSync patterns, gitignore-like rules, size, age, kind and manifests.

selection (the answer for one entry, and the rule that gave it), datasync and gitignore (the two pattern
languages), rules (ordered rules together), glob and index (matching without backtracking, one or many at
once), facts (size, age, kind), manifest (a list of paths that restricts a task), faults (what is wrong with
patterns), describe (the rules in words).
"""
