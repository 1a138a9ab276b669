"""How files were lost with other programs, played again with the installed command: docs/stories.md."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from conftest import Project


def write(folder: Path, *names: str, content: bytes = b"content") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def refusing(project: Project, *words: str) -> set[str]:
    """The guards that refuse a run."""
    report = project.run("run", "t", *words, "--json", expect=6).json
    return {guard["guard"] for guard in report["guards"] if not guard["accepted"]}


def test_the_first_mirror_into_a_folder_of_other_things_is_refused(project: Project) -> None:
    write(project.source, "one")
    life = [f"letters/{number}" for number in range(30)]
    write(project.destination, *life)
    project.configure(options={"preserve_deleted_files": "remove"})
    assert refusing(project) == {"max_deletions"}
    assert names_in(project.destination) == set(life)


def test_a_mirror_onto_a_home_folder_is_refused(project: Project) -> None:
    """Only planned, and no folder in it is listed: it is the home of whoever runs this test."""
    write(project.source, "one")
    project.destination = Path(pwd.getpwuid(os.getuid()).pw_dir)
    project.configure(options={"preserve_deleted_files": "remove"}, filters={"exclude": ["*"]})
    assert "guard wide_root refuses" in project.run("plan", "t", expect=6).out


def test_excluding_all_and_deleting_what_is_excluded_is_refused(project: Project) -> None:
    folder = [f"folder/{number}" for number in range(30)]
    write(project.source, *folder)
    project.run("run")
    project.configure(
        options={"preserve_deleted_files": "remove"}, filters={"exclude": ["*"], "delete_excluded": True}
    )
    assert "filter_changed" in refusing(project)
    assert "max_deletions" in refusing(project, "--accept", "filter_changed")
    assert names_in(project.destination) == set(folder)


def test_a_line_taken_out_of_the_filters_deletes_nothing_by_itself(project: Project) -> None:
    write(project.source, *(f"kept/{number}" for number in range(20)))
    project.configure(options={"preserve_deleted_files": "remove"}, filters={"exclude": ["/servers"]})
    project.run("run")
    write(project.destination, "servers/only copy")
    project.run("run")
    project.configure(options={"preserve_deleted_files": "remove"})
    assert refusing(project) == {"filter_changed"}
    assert "servers/only copy" in names_in(project.destination)


def test_what_is_excluded_stays_where_it_is(project: Project) -> None:
    write(project.source, *(f"kept/{number}" for number in range(20)), "kept/cache.tmp")
    write(project.destination, "kept/own.tmp", "own/x.tmp", "extra")
    project.configure(options={"preserve_deleted_files": "remove"}, filters={"exclude": ["*.tmp"]})
    project.run("run")
    found = names_in(project.destination)
    assert {"kept/own.tmp", "own/x.tmp"} <= found
    assert not found & {"extra", "kept/cache.tmp"}


def test_an_empty_file_that_is_newer_is_repaired(project: Project) -> None:
    write(project.source, "a", content=b"all of it")
    os.utime(project.source / "a", (1_000_000_000, 1_000_000_000))
    write(project.destination, "a", content=b"")
    project.run("run")
    assert (project.destination / "a").read_bytes() == b"all of it"


def test_an_edit_of_the_same_size_is_copied(project: Project) -> None:
    write(project.source, "a", "b", content=b"first!")
    project.run("run")
    facts = (project.source / "b").stat()
    write(project.source, "a", "b", content=b"second")
    os.utime(project.source / "a", ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    os.utime(project.source / "b", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    project.run("run")
    assert (project.destination / "a").read_bytes() == b"second"
    # The very same time as well: only content tells, and it is told.
    project.run("verify", "t", expect=5)
    project.configure(options={"compare": "checksum"})
    project.run("run")
    assert (project.destination / "b").read_bytes() == b"second"


def test_what_stands_there_is_not_taken_for_the_beginning(project: Project) -> None:
    write(project.source, "log", content=b"the true beginning, and the end")
    write(project.destination, "log", content=b"something else")
    project.run("run")
    assert (project.destination / "log").read_bytes() == b"the true beginning, and the end"


def test_without_a_word_about_deleting_nothing_is_deleted(project: Project) -> None:
    write(project.source, "a")
    write(project.destination, "only here", "folder/only here")
    project.run("run")
    assert names_in(project.destination) == {"a", "only here", "folder/only here"}


def test_a_failure_is_no_success_for_whoever_watches(project: Project) -> None:
    write(project.source, "a")
    project.configure(max_age="26h")
    project.run("run")
    (good,) = project.run("freshness", "--json").json["tasks"]
    project.source.rename(project.folder / "unplugged")
    project.run("run", expect=7)
    (failed,) = project.run("freshness", "--json").json["tasks"]
    assert (good["last_status"], good["failures_in_a_row"]) == ("SUCCESS", 0)
    assert (failed["last_status"], failed["failures_in_a_row"]) == ("ERROR", 1)
    assert failed["last_success"] == good["last_success"]
    assert failed["last_execution"] != good["last_execution"]
    assert names_in(project.destination) == {"a"}
