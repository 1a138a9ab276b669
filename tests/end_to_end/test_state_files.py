"""What the command does when its own files cannot be read or written."""

from __future__ import annotations

from conftest import Project


def test_guards_do_not_pass_because_what_they_know_cannot_be_read(project: Project) -> None:
    (project.source / "f").write_bytes(b"x")
    project.run("run", "t")
    (known,) = (
        file
        for file in (project.folder / ".sync-runner" / "tasks").glob("*.json")
        if "standing" not in file.name
    )
    known.write_bytes(b'{"listed')
    refused = project.run("run", "t", expect=7)
    assert "is damaged" in refused.err
    assert str(known) in refused.err
    known.unlink()
    project.run("run", "t")
