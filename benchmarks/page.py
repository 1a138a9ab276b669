"""Sections of docs/benchmarks.md: each benchmark replaces its own and leaves the others as they are."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

PAGE = str(Path(__file__).parent.parent / "docs" / "benchmarks.md")


def write_section(page: str, name: str, text: str) -> None:
    """Replace what stands between the comments of that name; a page without them gets them at its end."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = ""
    if os.path.exists(page):
        with open(page, encoding="utf-8") as stream:
            old = stream.read()
    section = f"{begin}\n{text.strip()}\n{end}"
    before, found, rest = old.partition(begin)
    if found:
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{page}: {begin} is not followed by {end}")
        new = before + section + after
    else:
        new = (old.rstrip() + "\n\n" if old.strip() else "") + section + "\n"
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=os.path.dirname(os.path.abspath(page)), delete=False
    ) as stream:
        stream.write(new)
    os.chmod(stream.name, 0o644)
    os.replace(stream.name, page)
