"""report --verify-chain on real executions, each altered the way somebody would who wants not to be seen."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from history_project import Project, Ran

from runner.history.chain import chain_after, chain_file
from runner.history.state import StateDirectory
from runner.model.execution import Report
from runner.model.wire import decode_line
from runner.report.as_json import json_content

RUNS = 4


class Chained:
    """Four executions of task photos, the last of which has nothing to do, and hands that change what they left."""

    def __init__(self, folder: Path, **task: object) -> None:
        self.project = Project(folder, None, **task)
        self.state = StateDirectory(str(folder / ".sync-runner"))
        for run in range(RUNS):
            if run < RUNS - 1:
                for name in range(20):
                    (folder / "src" / f"{run}-{name}").write_bytes(b"x" * name)
            assert self.project.run("run", "photos").code == 0
        self.ids = self.state.execution_ids()

    def folder(self, run: int) -> Path:
        return Path(self.state.execution_folder(self.ids[run]))

    @property
    def chain(self) -> Path:
        return Path(chain_file(self.state, "photos"))

    def lines(self) -> list[bytes]:
        return self.chain.read_bytes().splitlines(keepends=True)

    def report(self, run: int) -> Report:
        return decode_line((self.folder(run) / "report.json").read_bytes(), Report)

    def check(self, *words: str) -> Ran:
        return self.project.run("report", "--verify-chain", "photos", "--json", *words)

    def breaks(self, *words: str) -> list[tuple[str, int | None]]:
        """(kind, number of the run) of each break, and that the exit code says the same."""
        ran = self.check(*words)
        found = ran.json["breaks"]
        assert (ran.code, ran.json["holds"]) == ((5, False) if found else (0, True)), ran.err
        ids = [*self.ids, *(one for one in self.state.execution_ids() if one not in self.ids)]
        return [
            (one["kind"], ids.index(one["execution_id"]) if one["execution_id"] else None) for one in found
        ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Chained:
    return Chained(tmp_path_factory.mktemp("chained"))


@pytest.fixture
def chained(made: Chained, tmp_path: Path) -> Iterator[Chained]:
    """A copy of its own of what was made once, in the same place, so that paths in it stay true."""
    kept = tmp_path / "kept"
    shutil.copytree(made.state.path, kept)
    yield made
    shutil.rmtree(made.state.path)
    shutil.copytree(kept, made.state.path)


def test_what_nobody_touched_holds(chained: Chained) -> None:
    ran = chained.check()
    head = hashlib.sha256((chained.folder(3) / "report.json").read_bytes()).hexdigest()
    assert (ran.code, ran.json) == (
        0,
        {
            "task": "photos",
            "holds": True,
            "links": RUNS,
            "checked": RUNS,
            "retired": 0,
            "signed": None,
            "unchained": 0,
            "head": {"execution_id": chained.ids[3], "report": head},
            "breaks": [],
        },
    )
    assert chained.breaks("--expect", head) == []
    assert chained.breaks("--expect", f"sha256:{head.upper()}") == []
    text = chained.project.run("report", "--verify-chain", "photos").out
    assert text == (
        f"photos: The chain holds.\n  4 reports, 4 checked\n\n  Head: execution {chained.ids[3]}, SHA-256 {head}\n"
    )


def test_each_report_carries_the_one_before_and_equal_roots(chained: Chained) -> None:
    before = None
    for run in range(RUNS):
        evidence = chained.report(run).evidence
        assert evidence is not None and evidence.source is not None
        assert evidence.sequence == run + 1
        assert evidence.source == evidence.destination
        assert evidence.previous == before
        before = type(evidence.previous or chained.report(1).evidence.previous)(  # type: ignore[union-attr]
            chained.ids[run], hashlib.sha256((chained.folder(run) / "report.json").read_bytes()).hexdigest()
        )
    # The first run made a folder's times right, too; the last had nothing to do.
    assert [chained.report(run).evidence.source.entries for run in range(RUNS)] == [22, 21, 21, 0]  # type: ignore[union-attr]


def swap(first: Path, second: Path) -> None:
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def rewritten(chained: Chained, run: int, change: Callable[[dict[str, object]], object]) -> None:
    """Change one line of the chain, and make everything in the file follow from it."""
    before, lines = None, []
    for number, line in enumerate(chained.lines()):
        fields = json.loads(line)
        fields.pop("chain")
        if number == run:
            change(fields)
        head = json.dumps(fields, separators=(",", ":")).encode().removesuffix(b"}") + b',"chain":"'
        before = chain_after(before, head)
        lines.append(head + before.encode() + b'"}\n')
    chained.chain.write_bytes(b"".join(lines))


def replace_report(chained: Chained, run: int) -> bytes:
    """A report that is well made and tells another story."""
    path = chained.folder(run) / "report.json"
    content = path.read_bytes().replace(b'"files": 20', b'"files": 19')
    assert content != path.read_bytes()
    path.write_bytes(content)
    return content


def edit_chain(change: Callable[[list[bytes]], object]) -> Callable[[Chained], object]:
    def edit(chained: Chained) -> None:
        lines = chained.lines()
        change(lines)
        chained.chain.write_bytes(b"".join(lines))

    return edit


def alter_file(name: str, run: int = 1) -> Callable[[Chained], object]:
    def alter(chained: Chained) -> None:
        path = chained.folder(run) / name
        path.write_bytes(path.read_bytes().replace(b"1-7", b"1-8", 1) or b"\n")

    return alter


def forge_report(chained: Chained) -> None:
    """Altered together with its line: the reports after it still carry the chain as it was."""
    digest = hashlib.sha256(replace_report(chained, 1)).hexdigest()
    rewritten(chained, 1, lambda fields: fields.update(report=digest))


def forge_outcomes(chained: Chained) -> None:
    """Outcomes, their digest in the report, and the report's line."""
    alter_file("outcomes.jsonl")(chained)
    report = chained.report(1)
    assert report.evidence is not None
    digest = hashlib.sha256((chained.folder(1) / "outcomes.jsonl").read_bytes()).hexdigest()
    report.evidence.files["outcomes.jsonl"] = digest
    content = json_content(report)
    (chained.folder(1) / "report.json").write_bytes(content)
    rewritten(chained, 1, lambda fields: fields.update(report=hashlib.sha256(content).hexdigest()))


def insert_report(chained: Chained) -> None:
    twin = Path(chained.state.execution_folder("ffffffff0000"))
    shutil.copytree(chained.folder(1), twin)
    content = (twin / "report.json").read_bytes().replace(chained.ids[1].encode(), b"ffffffff0000")
    (twin / "report.json").write_bytes(content)


@pytest.mark.parametrize(
    ("description", "tamper", "expected"),
    [
        ("a report edited", lambda c: replace_report(c, 1), [("altered", 1)]),
        ("a report torn", lambda c: (c.folder(2) / "report.json").write_text("{"), [("altered", 2)]),
        ("outcomes edited", alter_file("outcomes.jsonl"), [("altered", 1)]),
        ("a problem added", alter_file("problems.jsonl"), [("altered", 1)]),
        ("findings gone", lambda c: (c.folder(0) / "findings.jsonl").unlink(), [("altered", 0)]),
        ("the plan edited", alter_file("plan.jsonl"), [("altered", 1)]),
        ("the plan gone", lambda c: (c.folder(1) / "plan.jsonl").unlink(), [("altered", 1)]),
        ("report and its line", forge_report, [("altered", 1)]),
        ("outcomes, report and line", forge_outcomes, [("altered", 1)]),
        ("a report removed", lambda c: shutil.rmtree(c.folder(1)), [("removed", 1)]),
        ("report.json removed", lambda c: (c.folder(3) / "report.json").unlink(), [("removed", 3)]),
        ("reports exchanged", lambda c: swap(c.folder(1), c.folder(2)), [("reordered", 1), ("reordered", 2)]),
        ("a report inserted", insert_report, [("inserted", 4)]),
        ("a line edited", edit_chain(lambda lines: lines.insert(1, lines.pop(1).replace(b"Z", b"z"))), [("altered", 1)]),
        ("a line removed", edit_chain(lambda lines: lines.pop(1)), [("removed", 1)]),
        ("lines exchanged", edit_chain(lambda lines: lines.insert(2, lines.pop(1))), [("reordered", 1), ("reordered", 2)]),
        ("a line twice", edit_chain(lambda lines: lines.insert(2, lines[1])), [("inserted", 1)]),
        ("garbage between", edit_chain(lambda lines: lines.insert(2, b"garbage\n")), [("altered", None)]),
        ("the last line cut off", edit_chain(lambda lines: lines.pop()), [("truncated", 3)]),
        ("half of the last line", edit_chain(lambda lines: lines.append(lines.pop()[:-9])), [("truncated", 3)]),
        ("the chain gone", lambda c: c.chain.unlink(), [("truncated", run) for run in range(4)]),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)  # fmt: skip
def test_where_it_breaks_is_named(
    chained: Chained,
    description: str,
    tamper: Callable[[Chained], object],
    expected: list[tuple[str, int | None]],
) -> None:
    tamper(chained)
    assert (description, chained.breaks()) == (description, expected)
    text = chained.project.run("report", "--verify-chain", "photos")
    assert text.code == 5
    assert text.out.startswith("photos: The chain is broken in ")
    for _, run in expected:
        assert (
            run is None or f"! execution {chained.ids[run] if run < RUNS else 'ffffffff0000'}: " in text.out
        )


def remove_lines_and_reports(chained: Chained) -> None:
    chained.chain.write_bytes(b"".join(chained.lines()[:2]))
    for run in (2, 3):
        shutil.rmtree(chained.folder(run))


def test_an_end_that_is_cut_off_without_a_trace_needs_a_witness(chained: Chained) -> None:
    """Chain and reports end earlier, both alike: what others noted tells."""
    head = chained.check().json["head"]["report"]
    assert [status for _, status in chained.project.executions()] == ["SUCCESS"] * RUNS
    ids = chained.ids
    remove_lines_and_reports(chained)
    found = [(one["kind"], one["execution_id"], one["message"]) for one in chained.check().json["breaks"]]
    assert found == [
        ("truncated", ids[2], "history knows its report, the chain does not"),
        ("truncated", ids[3], "history knows its report, the chain does not"),
    ]
    os.unlink(chained.state.history_file)
    assert [(one["kind"], one["execution_id"]) for one in chained.check().json["breaks"]] == [
        ("truncated", ids[3])
    ]
    for standing in Path(chained.state.path, "tasks").glob("*.standing.json"):
        standing.unlink()
    assert chained.check().code == 0
    ran = chained.check("--expect", head)
    assert (ran.code, [(one["kind"], one["execution_id"]) for one in ran.json["breaks"]]) == (
        5,
        [("truncated", "")],
    )


def test_history_is_a_witness_of_what_was_rewritten_as_a_whole(chained: Chained) -> None:
    """The last report and its line: nothing after it speaks against them."""
    assert len(chained.project.executions()) == RUNS
    content = (
        (chained.folder(3) / "report.json")
        .read_bytes()
        .replace(b'"trigger": "manual"', b'"trigger": "apply"')
    )
    (chained.folder(3) / "report.json").write_bytes(content)
    rewritten(chained, 3, lambda fields: fields.update(report=hashlib.sha256(content).hexdigest()))
    assert chained.breaks() == [("altered", 3)]
    os.unlink(chained.state.history_file)
    assert chained.breaks() == []


def test_what_was_looked_into_can_be_left_out(chained: Chained) -> None:
    shutil.rmtree(chained.folder(1))
    assert chained.breaks("--since", chained.ids[2]) == []
    assert chained.breaks("--since", chained.ids[0]) == [("removed", 1)]
    shutil.rmtree(chained.folder(2))
    assert chained.breaks("--since", chained.ids[3]) == []
    assert chained.breaks("--since", "latest") == []


def test_retention_is_no_break_and_the_chain_goes_on(chained: Chained) -> None:
    """What a rule removes is told before it goes, and what others remove is still found."""
    chained.project.configure({"retention": {"keep": "1ms", "keep_last": 2}})
    assert chained.project.run("history", "--prune", "--json").json == {"forgotten": chained.ids[:2]}
    ran = chained.check()
    assert (ran.code, ran.json["links"], ran.json["checked"], ran.json["retired"]) == (0, 4, 2, 2)
    assert (
        "4 reports, 2 checked, 2 removed by retention"
        in chained.project.run("report", "--verify-chain", "photos").out
    )
    assert json.loads(chained.lines()[4])["retired"] == chained.ids[:2]
    assert json.loads(chained.lines()[4])["rule"].endswith("keep_last 2")
    assert chained.project.run("run", "photos").code == 0
    ran = chained.check()
    assert (ran.code, ran.json["links"], ran.json["checked"]) == (0, 5, 3)
    shutil.rmtree(chained.folder(2))
    assert chained.breaks() == [("removed", 2)]
    chained.project.configure()


def test_a_verification_has_a_link_and_no_roots(chained: Chained) -> None:
    assert chained.project.run("verify", "photos").code == 0
    newest = chained.state.execution_ids()[-1]
    report = decode_line(Path(chained.state.execution_folder(newest), "report.json").read_bytes(), Report)
    assert report.evidence is not None
    assert (report.evidence.source, report.evidence.destination, report.evidence.sequence) == (None, None, 5)
    assert chained.breaks() == []


def test_executions_from_before_there_were_chains_are_counted(chained: Chained) -> None:
    old = Path(chained.state.execution_folder("000000000001"))
    old.mkdir()
    report = json.loads((chained.folder(0) / "report.json").read_bytes())
    report["execution"]["execution_id"] = "000000000001"
    del report["evidence"]
    (old / "report.json").write_text(json.dumps(report))
    ran = chained.check()
    assert (ran.code, ran.json["unchained"], ran.json["links"]) == (0, 1, 4)


def test_an_execution_that_cannot_continue_the_chain_says_so_and_ends_well(chained: Chained) -> None:
    with chained.chain.open("ab") as file:
        file.write(b"garbage\n")
    ran = chained.project.run("run", "photos")
    assert ran.code == 0
    assert "the chain of task photos's reports was not continued" in ran.err
    assert [kind for kind, _ in chained.breaks()] == ["altered", "inserted"]
    chained.chain.unlink()
    assert "chain" not in chained.project.run("run", "photos").err


def test_a_task_without_reports(tmp_path: Path) -> None:
    project = Project(tmp_path, None)
    ran = project.run("report", "--verify-chain", "photos")
    assert (ran.code, ran.out) == (0, "photos: No report is in the chain yet.\n  0 reports, 0 checked\n")
    assert project.run("report", "--verify-chain", "fotos").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["--verify-chain", "photos", "latest"],
        ["--verify-chain", "photos", "--format", "csv"],
        ["--verify-chain", "photos", "--expect", "12"],
        ["--verify-chain", "photos", "--allowed-signers", "nothing"],
        ["--since", "latest"],
        ["--expect", "0" * 64],
        ["--allowed-signers", "sync.yaml"],
    ],
)
def test_what_makes_no_sense_is_refused(chained: Chained, words: list[str]) -> None:
    assert chained.project.run("report", *words).code == 2


def test_the_page_works_out_the_same_roots(chained: Chained) -> None:
    """docs/evidence.md promises it to those who have no sync-runner."""
    page = Path(__file__).parents[2].joinpath("docs", "evidence.md").read_text("utf-8")
    (script,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for run in range(RUNS):
        evidence = chained.report(run).evidence
        assert evidence is not None and evidence.source is not None and evidence.destination is not None
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            cwd=chained.folder(run),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert ran.stdout.split() == [evidence.source.root, evidence.destination.root]


def test_what_failed_is_missing_from_the_destinations_root(tmp_path: Path) -> None:
    """Real damage: a folder stands where a file has to go, so one action of the plan is not done."""
    project = Project(tmp_path, None)
    for name in range(40):
        (tmp_path / "src" / f"{name}.bin").write_bytes(b"x")
    plan = tmp_path / "plan.jsonl"
    assert project.run("plan", "photos", "-o", str(plan)).code == 0
    (tmp_path / "src" / "7.bin").write_bytes(b"changed since")
    assert project.run("apply", str(plan)).code == 4
    state = StateDirectory(str(tmp_path / ".sync-runner"))
    report = decode_line(
        Path(state.execution_folder(state.resolve_execution("latest")), "report.json").read_bytes(), Report
    )
    assert report.evidence is not None and report.evidence.source is not None
    assert report.evidence.destination is not None
    assert report.evidence.source.entries - report.evidence.destination.entries == 1
    assert report.evidence.source.root != report.evidence.destination.root
    assert project.run("report", "--verify-chain", "photos").code == 0
