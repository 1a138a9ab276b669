"""Independent re-reading -> findings: did what was planned arrive, and is it still there?

judge (one expected and one actual entry; pure), batch (re-reading in workers), whole (both trees, everything).
"""
