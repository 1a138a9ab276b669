"""Signed reports: real keys, ssh-keygen and ssh-agent; what a stranger, a stripped signature or a forged report gives."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from history_project import Project, Ran

from runner.history import signing
from runner.history.signing import SigningError, check, sign
from runner.history.state import StateDirectory

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")

ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent"}
AT = "2026-11-22T17:03:00.000Z"


def make_key(folder: Path, name: str, passphrase: str = "") -> Path:
    path = folder / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", str(path)],
        check=True,
        timeout=60,
    )
    return path


def allow(folder: Path, *keys: Path, options: str = 'namespaces="sync-runner-report"') -> Path:
    path = folder / "allowed"
    lines = [f"{key.name}@example {options} {key.with_suffix('.pub').read_text().strip()}" for key in keys]
    path.write_text("\n".join(lines) + "\n")
    return path


class Signed:
    """A project whose key signs, and three executions."""

    def __init__(self, folder: Path) -> None:
        self.key = make_key(folder, "key")
        self.allowed = allow(folder, self.key)
        self.project = Project(folder, None)
        self.project.configure({"signing": {"key": "key", "allowed_signers": "allowed"}})
        self.state = StateDirectory(str(folder / ".sync-runner"))
        for _ in range(3):
            ran = self.project.run("run", "photos")
            assert (ran.code, "warning" in ran.err) == (0, False), ran.err
        self.ids = self.state.execution_ids()

    def file(self, run: int, name: str) -> Path:
        return Path(self.state.execution_folder(self.ids[run]), name)

    def check(self, *words: str) -> tuple[Ran, list[tuple[str, str, str]]]:
        ran = self.project.run("report", "--verify-chain", "photos", "--json", *words)
        return ran, [(one["kind"], one["execution_id"], one["message"]) for one in ran.json["breaks"]]


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def test_every_report_is_signed_and_the_file_is_private(signed: Signed) -> None:
    ran, breaks = signed.check()
    assert (ran.code, breaks, ran.json["signed"]) == (0, [], 3)
    path = signed.file(0, "report.json.sig")
    assert path.stat().st_mode & 0o777 == 0o600
    content = signed.file(0, "report.json").read_bytes()
    assert check(content, str(path), str(signed.allowed), AT, ENVIRONMENT) == ("key@example", None)
    assert "3 reports, 3 checked, 3 signed" in signed.project.run("report", "--verify-chain", "photos").out


def test_a_stranger_is_not_believed(signed: Signed, tmp_path: Path) -> None:
    stranger = make_key(tmp_path, "stranger")
    content = signed.file(1, "report.json").read_bytes()
    signed.file(1, "report.json.sig").write_bytes(sign(content, str(stranger), ENVIRONMENT))
    ran, breaks = signed.check()
    assert (ran.code, [(kind, run) for kind, run, _ in breaks]) == (5, [("signature", signed.ids[1])])
    assert breaks[0][2].startswith(f"no key of {signed.allowed} made the signature")
    allow(tmp_path, signed.key, stranger)
    assert signed.check()[0].json["signed"] == 3


def test_a_signature_holds_for_its_own_report_alone(signed: Signed) -> None:
    shutil.copy(signed.file(1, "report.json.sig"), signed.file(2, "report.json.sig"))
    _, breaks = signed.check()
    assert [(kind, run) for kind, run, _ in breaks] == [("signature", signed.ids[2])]
    assert breaks[0][2].startswith("the signature does not hold")


def test_a_signature_cannot_be_left_away(signed: Signed) -> None:
    signed.file(1, "report.json.sig").unlink()
    _, breaks = signed.check()
    assert breaks == [("signature", signed.ids[1], "its report is not signed, and earlier ones are")]


def test_reports_from_before_signing_are_vouched_for_by_the_first_that_is_signed(signed: Signed) -> None:
    signed.file(0, "report.json.sig").unlink()
    ran, breaks = signed.check()
    assert (ran.code, breaks, ran.json["signed"]) == (0, [], 2)
    for run in (1, 2):
        signed.file(run, "report.json.sig").unlink()
    _, breaks = signed.check()
    assert breaks == [("signature", signed.ids[2], "no report of the chain is signed")]


def test_signatures_count_only_where_somebody_says_whose(signed: Signed, tmp_path: Path) -> None:
    signed.file(1, "report.json.sig").unlink()
    signed.project.configure({"signing": {"key": "key"}})
    ran, breaks = signed.check()
    assert (ran.code, breaks, ran.json["signed"]) == (0, [], None)
    _, breaks = signed.check("--allowed-signers", str(signed.allowed))
    assert [kind for kind, _, _ in breaks] == ["signature"]


@pytest.mark.parametrize(
    ("options", "holds"),
    [
        ('namespaces="sync-runner-report"', True),
        ('namespaces="git"', False),
        ('valid-before="20200101"', False),
        ('valid-after="20200101"', True),
    ],
)
def test_what_the_allowed_signers_file_limits_is_kept(tmp_path: Path, options: str, holds: bool) -> None:
    key = make_key(tmp_path, "key")
    (tmp_path / "sig").write_bytes(sign(b"content", str(key), ENVIRONMENT))
    found = check(
        b"content", str(tmp_path / "sig"), str(allow(tmp_path, key, options=options)), AT, ENVIRONMENT
    )
    assert (found.signer == "key@example", found.fault is None) == (holds, holds)


def test_a_key_that_does_not_sign_costs_a_warning(tmp_path: Path) -> None:
    """It has a passphrase, which nobody is asked for, and no agent holds it."""
    make_key(tmp_path, "key", "correct horse")
    project = Project(tmp_path, None)
    project.configure({"signing": {"key": "key"}})
    ran = project.run("run", "photos")
    assert ran.code == 0
    assert "was not signed with" in ran.err
    assert "ssh-agent" in ran.err
    state = StateDirectory(str(tmp_path / ".sync-runner"))
    assert os.listdir(state.execution_folder(state.execution_ids()[0])).count("report.json.sig") == 0
    assert project.run("report", "--verify-chain", "photos").code == 0


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """A socket of an agent of its own."""
    if shutil.which("ssh-agent") is None or shutil.which("ssh-add") is None:
        pytest.skip("needs ssh-agent")
    socket = str(tmp_path / "agent")
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", socket], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "SSH_AUTH_SOCK" in process.stdout.readline()
    yield socket
    process.terminate()
    process.wait(30)
    process.stdout.close()


def test_a_key_with_a_passphrase_signs_through_the_agent(tmp_path: Path, agent: str) -> None:
    key = make_key(tmp_path, "key")
    environment = {**ENVIRONMENT, "SSH_AUTH_SOCK": agent}
    subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True, timeout=60)
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(key)], check=True, timeout=60
    )
    for name in (str(key), f"{key}.pub"):
        (tmp_path / "sig").write_bytes(sign(b"content", name, environment))
        allowed = str(allow(tmp_path, key))
        assert check(b"content", str(tmp_path / "sig"), allowed, AT, ENVIRONMENT).signer == "key@example"
    key.unlink()
    assert sign(b"content", f"{key}.pub", environment).startswith(b"-----BEGIN SSH SIGNATURE-----")


def test_the_program_hears_of_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its arguments name files; its environment is what it needs, and tells it to ask nobody."""
    seen: dict[str, Any] = {}

    def run(arguments: list[str], **how: Any) -> subprocess.CompletedProcess[bytes]:
        seen.update(arguments=arguments, **how)
        return subprocess.CompletedProcess(arguments, 255, b"", b"no\x1b[31m")

    monkeypatch.setattr(subprocess, "run", run)
    environment = {**ENVIRONMENT, "AWS_SECRET_ACCESS_KEY": "secret", "SSH_ASKPASS": "/evil", "DISPLAY": ":0"}
    with pytest.raises(SigningError, match=r"no\\x1b\[31m"):
        sign(b"content", "/etc/key", environment)
    assert seen["arguments"][1:] == ["-Y", "sign", "-f", "/etc/key", "-n", "sync-runner-report"]
    assert seen["env"] == {**ENVIRONMENT, "LC_ALL": "C", "TZ": "UTC", "SSH_ASKPASS_REQUIRE": "never"}
    assert (seen["start_new_session"], seen["input"]) == (True, b"content")


def test_a_program_that_hangs_or_is_missing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SigningError, match="no ssh-keygen here"):
        sign(b"content", "key", {"PATH": str(tmp_path)})
    hanging = tmp_path / "ssh-keygen"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o700)
    monkeypatch.setattr(signing, "SIGN_SECONDS", 0.2)
    with pytest.raises(SigningError, match="did not answer"):
        sign(b"content", "key", {"PATH": f"{tmp_path}:{os.defpath}"})
