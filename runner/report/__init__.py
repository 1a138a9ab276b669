"""One finished execution, told to people and to machines: JSON, CSV, HTML, JUnit, Markdown.

words.py        the sentences: outcome, headline, what to do next
stored.py       the folder of an execution, read back as streams
rows.py         one row a path: outcomes joined with findings and problems
statistics.py   one pass over the rows: counts, sizes, largest, slowest, throughput
as_*.py         one format each; render.py chooses among them and writes files
"""
