"""Is anything known against the locked packages? pip-audit is asked, and its answer judged.

`python -m locks.audit locks/test.txt locks/tools.txt` ends with 1 when a weakness is known that locks/accepted.toml does
not accept. A service that cannot be reached, or that does not know a package, ends with 0 and says so loudly: that
nobody could be asked is not a fault of this tree, and is not "clean" either.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locks.lock import ROOT, normalised

ACCEPTED = ROOT / "locks" / "accepted.toml"
PIP_AUDIT_SECONDS = 300


class AcceptedError(Exception):
    """locks/accepted.toml holds something that accepts nothing: which entry, and what is wrong."""


@dataclass(frozen=True)
class Accepted:
    """A known weakness that somebody looked at."""

    id: str
    package: str
    until: datetime.date
    """The first day on which it counts again."""
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What became of an audit: lines for people, and whether CI has to stop."""

    lines: tuple[str, ...]
    stop: bool


def read_accepted(text: str) -> tuple[Accepted, ...]:
    """The entries of locks/accepted.toml.

    Raises:
        AcceptedError: for an entry that lacks a part, has one too many, or whose reason says nothing.
    """
    found = []
    for entry in tomllib.loads(text).get("accepted", []):
        if set(entry) != {"id", "package", "until", "reason"}:
            raise AcceptedError(f"{entry}: needs id, package, until and reason, nothing else")
        if not isinstance(entry["until"], datetime.date) or len(entry["reason"].split()) < 4:
            raise AcceptedError(f"{entry['id']}: until is a day (2030-01-31), reason a sentence")
        found.append(Accepted(entry["id"], normalised(entry["package"]), entry["until"], entry["reason"]))
    return tuple(found)


def judge(answer: dict[str, Any], accepted: tuple[Accepted, ...], today: datetime.date) -> Verdict:
    """What an answer of `pip-audit --format json --aliases on` means on a day."""
    valid = {(one.package, one.id): one for one in accepted if today < one.until}
    lines, used, stop, asked, skipped = [], set(), False, 0, []
    for package in answer["dependencies"]:
        name = normalised(package["name"])
        if "skip_reason" in package:
            skipped.append(name)
            continue
        asked += 1
        for weakness in package["vulns"]:
            names = (weakness["id"], *weakness.get("aliases", ()))
            known = next((valid[name, one] for one in names if (name, one) in valid), None)
            if known is not None:
                used.add(known)
                lines.append(f"accepted until {known.until}: {name}: {known.id}: {known.reason}")
                continue
            stop = True
            mended = ", ".join(weakness["fix_versions"]) or "no version"
            lines.append(f"WEAKNESS: {name} {package['version']}: {', '.join(names)}; mended in {mended}")
    for one in accepted:
        if one not in used and asked:
            lines.append(
                f"locks/accepted.toml: {one.package}: {one.id} was not found, or its day has come: remove it"
            )
    if skipped and not asked:
        lines.append(
            "NOT AUDITED: the service knows none of the packages; is it a mirror, without what is known?"
        )
    elif skipped:
        lines.append(f"NOT AUDITED: the service knows nothing of: {', '.join(skipped)}")
    lines.append(f"{asked} packages audited, {len(skipped)} not")
    return Verdict(tuple(lines), stop)


def audit(locks: list[str], today: datetime.date, program: str = "pip-audit") -> Verdict:
    """Ask pip-audit, found beside this interpreter unless `program` is a path, about all packages of some locks."""
    accepted = read_accepted(ACCEPTED.read_text("utf-8"))
    command = [
        str(Path(sys.executable).parent / program),
        *("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--timeout", "20"),
        *("--format", "json", "--aliases", "on"),
        *(part for lock in locks for part in ("--requirement", lock)),
    ]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PIP_AUDIT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Verdict((f"NOT AUDITED: pip-audit had no answer in {PIP_AUDIT_SECONDS} seconds",), stop=False)
    if not ran.stdout.strip():
        why = [line for line in ran.stderr.splitlines() if line.strip()][-3:]
        return Verdict(("NOT AUDITED: pip-audit could not ask:", *why), stop=False)
    return judge(json.loads(ran.stdout), accepted, today)


def main(arguments: list[str]) -> int:
    """Ask about the locks that are named, print the verdict."""
    verdict = audit(arguments, datetime.datetime.now(datetime.UTC).date())  # noqa: TID251
    print("\n".join(verdict.lines))
    return 1 if verdict.stop else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
