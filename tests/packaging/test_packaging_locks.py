"""Locks, the bill of materials and the audit: they fit pyproject.toml and one another, and faults are seen."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from locks.audit import Accepted, AcceptedError, audit, judge, read_accepted
from locks.installed import strangers
from locks.lock import ROOT, Locked, LockError, normalised, read_lock
from locks.sbom import bill_of_materials, current

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUN = [
    *PYPROJECT["build-system"]["requires"],
    *PROJECT["dependencies"],
    *(line for extra in EXTRAS if extra != "test" for line in EXTRAS[extra]),
]
LOCKS = {
    "run.txt": RUN,
    "test.txt": [*RUN, *EXTRAS["test"]],
    "tools.txt": (ROOT / "locks" / "tools.in").read_text("utf-8").splitlines()[1:],
}


def lock(name: str) -> tuple[Locked, ...]:
    return read_lock((ROOT / "locks" / name).read_text("utf-8"))


# -- locks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCKS)
def test_everything_that_is_asked_for_is_locked_and_fits(name: str) -> None:
    versions = {package.name: package.version for package in lock(name)}
    unmet = [
        line
        for line in LOCKS[name]
        if (wanted := Requirement(line))
        and not wanted.specifier.contains(versions.get(normalised(wanted.name), "0.dev0"), prereleases=True)
    ]
    assert unmet == [], "run .ci/lock"


@pytest.mark.parametrize("name", LOCKS)
def test_nothing_is_locked_that_nobody_asks_for(name: str) -> None:
    """A dependency that was removed goes from the locks too; inputs are named by those who are asked for directly."""
    asked = {normalised(Requirement(line).name) for line in LOCKS[name]}
    names = {package.name for package in lock(name)}
    for package in lock(name):
        assert package.needed_by, package.name
        by_inputs = any(source not in names for source in map(normalised, package.needed_by))
        assert by_inputs == (package.name in asked), f"{package.name}: run .ci/lock"


def test_what_runs_is_what_was_tested() -> None:
    """No package has two versions in two locks."""
    tested = {package.name: package for package in lock("test.txt")}
    assert [package.name for package in lock("run.txt") if package.name not in tested] == []
    for name in ("run.txt", "tools.txt"):
        for package in lock(name):
            same = tested.get(package.name)
            assert same is None or (same.version, same.digests) == (package.version, package.digests)


def test_the_build_input_says_what_pyproject_says() -> None:
    [line] = [
        line for line in (ROOT / "locks" / "build.in").read_text("utf-8").splitlines() if line[:1] != "#"
    ]
    assert [line] == PYPROJECT["build-system"]["requires"]


PIN = "a==1 \\\n    --hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("an option", "--index-u" + "rl https://example.com/simple\n" + PIN),
        ("an address", "a @ https://example.com/a.whl\n"),
        ("a path", "-e .\n"),
        ("a range", "a>=1 \\\n    --hash=sha256:" + "0" * 64),
        ("no digest", "a==1\n    # via b\n"),
        ("a weak digest", "a==1 \\\n    --hash=md5:" + "0" * 32),
        ("an option after the digest", PIN + "\n    --find-links=/x\n"),
        ("twice", PIN + "\n" + PIN.replace("a==1", "A==2")),
    ],
)
def test_a_lock_holds_nothing_but_pinned_packages_with_digests(description: str, text: str) -> None:
    with pytest.raises(LockError):
        read_lock(text)


def test_a_lock_is_read() -> None:
    text = f"# head\nA_b==1.2 ; sys_platform == 'linux' \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{'1' * 64}\n"
    text += "    # via\n    #   -c locks/test.txt\n    #   c\n    #   sync-runner (pyproject.toml)\n"
    assert read_lock(text) == (
        Locked(
            "a-b",
            "1.2",
            "sys_platform == 'linux'",
            ("0" * 64, "1" * 64),
            ("c", "sync-runner (pyproject.toml)"),
        ),
    )


def test_what_no_lock_names_is_seen() -> None:
    locked = (Locked("a", "1", None, ("0" * 64,), ("b",)), Locked("b", "2", None, ("0" * 64,), ("c",)))
    assert strangers({"A": "1", "b": "2", "pip": "26", "sync-runner": "1"}, locked) == ()
    assert strangers({"A": "2", "x.y": "3"}, locked) == ("a 2: locked is 1", "x-y 3: in no lock")


def test_pip_refuses_what_has_another_digest(tmp_path: Path) -> None:
    """The refusal that all this stands on, by the pip at hand: one wheel, made here, with a digest of something else."""
    wheel = tmp_path / "a-1-py3-none-any.whl"
    wheel.write_bytes(b"not what was locked")
    text = tmp_path / "lock.txt"
    text.write_text(f"a==1 --hash=sha256:{'0' * 64}\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-index", "--no-deps", "--require-hashes",
         "--find-links", str(tmp_path), "--dest", str(tmp_path / "to"), "-r", str(text)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode != 0
    assert "DO NOT MATCH THE HASHES" in ran.stderr


# -- the bill of materials ---------------------------------------------------------------------------------------


def test_the_bill_of_materials_is_made_from_this_lock() -> None:
    """Byte for byte: versions, who needs whom, and the digest of the lock."""
    written = (ROOT / "locks" / "sbom.cdx.json").read_text("utf-8")
    assert written == current(), "run python3 -m locks.sbom > locks/sbom.cdx.json"


def test_the_bill_of_materials_names_every_dependency_of_every_extra() -> None:
    bill = json.loads((ROOT / "locks" / "sbom.cdx.json").read_text("utf-8"))
    versions = {component["name"]: Version(component["version"]) for component in bill["components"]}
    missing = [
        line
        for line in RUN
        if versions.get(normalised(Requirement(line).name)) not in Requirement(line).specifier
    ]
    assert missing == []


def test_who_needs_whom_is_told() -> None:
    text = (
        f"a==1 --hash=sha256:{'0' * 64}\n".replace(" --hash", " \\\n    --hash")
        + "    # via project (pyproject.toml)\n"
    )
    text += text.replace("a==1", "b==2").replace("project (pyproject.toml)", "a")
    project = {"name": "project", "description": "one", "license": "Apache-2.0"}
    bill = bill_of_materials(project, "3", text.encode())
    assert bill["dependencies"] == [
        {"ref": "pkg:pypi/a@1", "dependsOn": ["pkg:pypi/b@2"]},
        {"ref": "pkg:pypi/b@2", "dependsOn": []},
        {"ref": "pkg:pypi/project@3", "dependsOn": ["pkg:pypi/a@1"]},
    ]


# -- the audit ---------------------------------------------------------------------------------------------------

TODAY = datetime.date(2030, 1, 15)
WEAK = {"id": "PYSEC-1", "aliases": ["CVE-1", "GHSA-1"], "fix_versions": ["2"], "description": ""}
ANSWER = {
    "dependencies": [
        {"name": "A.b", "version": "1", "vulns": [WEAK]},
        {"name": "c", "version": "1", "vulns": []},
    ]
}


def accept(package: str = "a-b", name: str = "GHSA-1", until: str = "2030-02-01") -> tuple[Accepted, ...]:
    return (Accepted(name, package, datetime.date.fromisoformat(until), "never called from here"),)


@pytest.mark.parametrize(
    ("description", "accepted", "stop"),
    [
        ("nobody looked at it", (), True),
        ("accepted by an alias", accept(), False),
        ("accepted by its id", accept(name="PYSEC-1"), False),
        ("accepted for another package", accept("c"), True),
        ("another weakness is accepted", accept(name="GHSA-2"), True),
        ("its day has come", accept(until="2030-01-15"), True),
    ],
)
def test_a_known_weakness_stops_unless_it_is_accepted(
    description: str, accepted: tuple[Accepted, ...], stop: bool
) -> None:
    verdict = judge(ANSWER, accepted, TODAY)
    assert verdict.stop is stop
    assert any(line.startswith("WEAKNESS: a-b 1: PYSEC-1, CVE-1") for line in verdict.lines) is stop
    assert verdict.lines[-1] == "2 packages audited, 0 not"


def test_what_is_accepted_for_nothing_is_told() -> None:
    assert "locks/accepted.toml: c: GHSA-9" in "\n".join(judge(ANSWER, accept("c", "GHSA-9"), TODAY).lines)


def test_not_asked_is_not_clean() -> None:
    answer = {
        "dependencies": [
            {"name": "a", "skip_reason": "not found"},
            {"name": "c", "version": "1", "vulns": []},
        ]
    }
    verdict = judge(answer, (), TODAY)
    assert verdict.lines == ("NOT AUDITED: the service knows nothing of: a", "1 packages audited, 1 not")
    assert not verdict.stop


@pytest.mark.parametrize(
    ("description", "script", "stop", "line"),
    [
        ("clean", "echo '{\"dependencies\": []}'", False, "0 packages audited, 0 not"),
        ("no service", "echo 'ERROR: no route' >&2; exit 1", False, "ERROR: no route"),
        ("weak", f"echo '{json.dumps(ANSWER)}'; exit 1", True, "2 packages audited, 0 not"),
    ],
)
def test_the_program_is_asked(tmp_path: Path, description: str, script: str, stop: bool, line: str) -> None:
    program = tmp_path / "pip-audit"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n{script}\n')
    program.chmod(0o755)
    verdict = audit(["locks/run.txt"], TODAY, str(program))
    assert (verdict.stop, verdict.lines[-1]) == (stop, line)
    assert "--require-hashes" in (tmp_path / "arguments").read_text()
    assert (tmp_path / "arguments").read_text().endswith("--requirement locks/run.txt\n")


def test_accepted_weaknesses_have_reasons() -> None:
    read_accepted((ROOT / "locks" / "accepted.toml").read_text("utf-8"))
    good = '[[accepted]]\nid = "GHSA-1"\npackage = "A_b"\nuntil = 2030-02-01\nreason = "never called from here"\n'
    assert read_accepted(good) == accept()
    for line, other in (("package", ""), ("reason", 'reason = "ok"'), ("until", 'until = "soon"')):
        with pytest.raises(AcceptedError):
            read_accepted(re.sub(rf"^{line} = .*$", other, good, flags=re.MULTILINE))


# -- CI ----------------------------------------------------------------------------------------------------------


def test_ci_installs_by_digests_and_audits() -> None:
    steps = (ROOT / ".ci" / "run").read_text("utf-8")
    order = [
        "\n.ci/locked\n",
        '"$test_command" <',
        "locks.installed locks/test.txt",
        "\n.ci/audit\n",
    ]
    assert sorted(order, key=steps.index) == order
    assert "install -q --require-hashes -r locks/test.txt\n" in (ROOT / ".ci" / "locked").read_text("utf-8")


def test_steps_of_others_are_pinned_by_their_commit() -> None:
    used = re.findall(r"uses: (\S+)", (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    assert used and [one for one in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", one)] == []
