"""What was measured, kept in docs/benchmarks.json: one job at a time, so that each can be measured anew."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import runner
from benchmarks.contest import Contestant, Job, Times, version_of

Document = dict[str, Any]


@dataclass(frozen=True)
class Ratio:
    """One line of the chart: how long the runner took beside a peer (or beside the bare interpreter)."""

    job: str
    title: str
    label: str
    value: float
    target: float | None

    @property
    def met(self) -> bool:
        return self.target is None or self.value <= self.target


def result_of(
    job: Job,
    data: str,
    place: str,
    competing: Sequence[Contestant],
    absent: Sequence[str],
    times: dict[str, Times],
    folder: Path,
) -> Document:
    """One job as it is kept. `place`: the kind of file system; `folder`: taken out of the commands that are shown."""
    return {
        "title": job.title,
        "data": data,
        "place": place,
        "measures": job.measures,
        "beside_first": job.beside_first,
        "grows_from": job.grows_from,
        "machine": machine(),
        "absent": list(absent),
        "contestants": [
            {
                "name": one.name,
                "command": " ".join(_shown(word, folder) for word in one.command),
                "version": "" if _is_python(one) else version_of(one.command[0]),
                "target": one.target,
                "wall": [round(value, 4) for value in times[one.name].wall],
                "processor": [round(value, 3) for value in times[one.name].processor],
                "peak_bytes": times[one.name].peak_bytes,
            }
            for one in competing
        ],
    }


def _is_python(one: Contestant) -> bool:
    return "python" in os.path.basename(one.command[0])


def _shown(word: str, folder: Path) -> str:
    if "python" in os.path.basename(word) and os.path.isabs(word):
        return "python"
    return word.replace(str(folder) + "/", "").replace(str(folder), ".")


def machine() -> str:
    """Cores, memory, kernel and interpreter, in one line."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (
        f"{len(os.sched_getaffinity(0))} cores, {pages / (1 << 30):.0f} GiB of memory, Linux "
        f"{platform.release().partition('-')[0]}, Python {platform.python_version()}, sync-runner {runner.__version__}"
    )


def merge(path: Path, name: str, result: Document) -> Document:
    """Replace one job in the file; returns all."""
    document: Document = json.loads(path.read_text("utf-8")) if path.exists() else {}
    document[name] = result
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")
    return document


def value_of(result: Document, contestant: Document) -> float:
    """The median: seconds, or the greatest peak in bytes."""
    if result["measures"] == "bytes":
        return float(max(contestant["peak_bytes"]))
    return float(statistics.median(contestant["wall"]))


def ratios(name: str, result: Document) -> Iterator[Ratio]:
    """The runner against each peer; where the job says so, each against the first."""
    if result["measures"] == "bytes":
        return
    first, *others = result["contestants"]
    base = value_of(result, first)
    for one in others:
        other = value_of(result, one)
        value = other / base if result["beside_first"] else base / other
        yield Ratio(name, result["title"], one["name"], value, one["target"])


def tables(document: Document, order: Sequence[str]) -> str:
    """Markdown: one table a job, in that order."""
    pieces = []
    for name in order:
        if name in document:
            pieces.append(_table(name, document[name]) + _growth(document, document[name]))
    return "\n\n".join(pieces)


def _growth(document: Document, result: Document) -> str:
    """A line below the table of a job whose memory is held against that of a job on fewer files."""
    if not result.get("grows_from"):
        return ""
    base, most = result["grows_from"]
    if base not in document:
        return ""
    larger, smaller = (value_of(one, one["contestants"][0]) for one in (result, document[base]))
    growth = larger / smaller
    return (
        f"\n- {growth:.2f} times that of `{base}`; target {most:.2f} {'met' if growth <= most else 'not met'}"
    )


def _memory_row(result: Document, one: Document) -> str:
    peak, most = value_of(result, one), one["target"]
    target = "" if most is None else f"{most / 1e6:.0f} MB {'met' if peak <= most else 'not met'}"
    return f"| {one['name']} | {peak / 1e6:.1f} MB | {target} |"


def _table(name: str, result: Document) -> str:
    if result["measures"] == "bytes":
        head = ["| | peak of all processes together (PSS) | target |", "|---|---|---|"]
        rows = [_memory_row(result, one) for one in result["contestants"]]
    else:
        against = "beside the first" if result["beside_first"] else "sync-runner / this"
        head = [
            f"| | seconds | least - most | processor seconds | {against} | target |",
            "|---|---|---|---|---|---|",
        ]
        by_label = {one.label: one for one in ratios(name, result)}
        rows = []
        for one in result["contestants"]:
            wall, ratio = one["wall"], by_label.get(one["name"])
            target = (
                ""
                if ratio is None or ratio.target is None
                else f"{ratio.target:.2f} {'met' if ratio.met else 'not met'}"
            )
            rows.append(
                f"| {one['name']} | {statistics.median(wall):.3f} | {min(wall):.3f} - {max(wall):.3f} | "
                f"{statistics.median(one['processor']):.2f} | {'' if ratio is None else f'{ratio.value:.2f}'} | {target} |"
            )
    rounds = max(len(one["wall"]) or len(one["peak_bytes"]) for one in result["contestants"])
    lines = [
        f"### {result['title']}",
        "",
        f"`{name}`: {result['data']}, on {result['place']}; {rounds} rounds. {result['machine']}.",
        "",
        *head,
        *rows,
        "",
        *(
            f"- {one['name']}: `{one['command']}`" + (f" ({one['version']})" if one["version"] else "")
            for one in result["contestants"]
        ),
    ]
    if result["absent"]:
        lines.append(f"- not installed there: {', '.join(result['absent'])}")
    return "\n".join(lines)
