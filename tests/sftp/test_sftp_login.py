"""Who the server is has to be known beforehand; who we are is shown by key, agent, certificate or password."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from runner_plugins.sftp.driver import DRIVER
from servers.process import free_port, program
from servers.serve_openssh import HINT, PASSPHRASE, OpenSsh, agent, append, make_key, started
from sftp_support import opened, put, read, refusal, settings

from runner.model.task import Secret

pytestmark = pytest.mark.servers


def fingerprint(public: Path) -> str:
    shown = subprocess.run(
        [program("ssh-keygen", HINT), "-l", "-f", str(public)], check=True, capture_output=True, text=True
    )
    return shown.stdout.split()[1]


def test_an_unknown_server_is_not_spoken_to(openssh: OpenSsh, tmp_path: Path) -> None:
    """No trust on first use: the message shows the fingerprint, and the line to add once it is confirmed."""
    empty = tmp_path / "known_hosts"
    empty.touch()
    error = refusal({**openssh.options(openssh.new_root()), "known_hosts": str(empty)})
    assert f"is not in known_hosts {empty}" in error.message
    assert fingerprint(openssh.folder / "host.pub") in error.message
    assert error.remedy is not None
    line = error.remedy.splitlines()[-1]
    assert line.startswith(f"[127.0.0.1]:{openssh.port} ssh-ed25519 ")
    assert empty.read_bytes() == b""
    empty.write_text(line + "\n")
    with opened({**openssh.options(openssh.new_root()), "known_hosts": str(empty)}) as location:
        put(location, "a", b"known now")


def test_a_changed_host_key_is_refused_with_both_remedies(openssh: OpenSsh, tmp_path: Path) -> None:
    """The message says that it is another key, not that it is unknown."""
    make_key(tmp_path / "other")
    kind, key, *_ = (tmp_path / "other.pub").read_text().split()
    changed = tmp_path / "known_hosts"
    changed.write_text(f"[127.0.0.1]:{openssh.port} {kind} {key}\n")
    error = refusal({**openssh.options(openssh.new_root()), "known_hosts": str(changed)})
    assert f"is not the one in known_hosts {changed}" in error.message
    assert fingerprint(openssh.folder / "host.pub") in error.message
    assert error.remedy is not None and "stand between you and the server" in error.remedy


def test_the_host_key_can_stand_in_the_options(openssh: OpenSsh, tmp_path: Path) -> None:
    """`host_key` in place of `known_hosts`; another key there is refused."""
    options = openssh.options(openssh.new_root())
    del options["known_hosts"]
    public = (openssh.folder / "host.pub").read_text().rsplit(" ", 1)[0]
    with opened({**options, "host_key": public}) as location:
        assert list(location.scan()) == []
    make_key(tmp_path / "other")
    other = (tmp_path / "other.pub").read_text()
    error = refusal({**options, "host_key": [other]})
    assert "is not the one in `host_key`" in error.message
    assert "no public key" in refusal({**options, "host_key": "rubbish"}).message


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_known_hosts_that_cannot_be_read(openssh: OpenSsh, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    error = refusal({**openssh.options(openssh.new_root()), "known_hosts": str(tmp_path / name)})
    assert "cannot read known_hosts" in error.message


def test_a_key_that_the_server_does_not_know(openssh: OpenSsh) -> None:
    """Refused at open, and the message says what was offered."""
    error = refusal({**openssh.options(openssh.new_root()), "private_key": str(openssh.stranger_key)})
    assert f"refuses the login with private_key {openssh.stranger_key}" in error.message


def test_a_key_with_a_passphrase(openssh: OpenSsh) -> None:
    """Right, wrong, and left out; it is shown nowhere."""
    options = {**openssh.options(openssh.new_root()), "private_key": str(openssh.locked_key)}
    with opened({**options, "passphrase": Secret(PASSPHRASE, "test")}) as location:
        put(location, "a", b"unlocked")
    assert "is encrypted" in refusal(options).message
    wrong = refusal({**options, "passphrase": Secret("wrong horse", "test")})
    assert "cannot be used" in wrong.message
    assert "wrong horse" not in str(wrong)


def test_keys_of_an_agent(openssh: OpenSsh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its socket, or by SSH_AUTH_SOCK; an agent without keys, or none at all, is told."""
    options = openssh.options(openssh.new_root())
    del options["private_key"]
    with agent(tmp_path, openssh.key) as socket:
        with opened({**options, "agent": str(socket)}) as location:
            put(location, "a", b"by agent")
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        with opened({**options, "agent": True}) as location:
            assert read(location, "a") == b"by agent"
    assert "no SSH agent answers" in refusal({**options, "agent": True}).message
    monkeypatch.delenv("SSH_AUTH_SOCK")
    assert "SSH_AUTH_SOCK is not set" in refusal({**options, "agent": True}).message
    with agent(tmp_path) as socket:
        assert "holds no keys" in refusal({**options, "agent": str(socket)}).message


def test_an_agent_is_not_asked_unless_wanted(
    openssh: OpenSsh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the agent nor ~/.ssh is used by itself."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id_ed25519").write_bytes(openssh.key.read_bytes())
    (home / ".ssh" / "config").write_text(f"Host 127.0.0.1\n  IdentityFile {openssh.key}\n")
    monkeypatch.setenv("HOME", str(home))
    options = openssh.options(openssh.new_root())
    del options["private_key"]
    with agent(tmp_path, openssh.key) as socket:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        assert "neither key, agent nor password is declared" in refusal(options).message
    with opened({**options, "use_ssh_config": True}) as location:
        put(location, "a", b"by ~/.ssh/config")


def test_a_certificate(openssh: OpenSsh, tmp_path: Path) -> None:
    """A key that the server does not know, signed by an authority that it trusts."""
    make_key(tmp_path / "authority")
    make_key(tmp_path / "mine")
    keygen = [
        program("ssh-keygen", HINT),
        "-q",
        "-s",
        str(tmp_path / "authority"),
        "-I",
        "test",
        "-n",
        openssh.user,
    ]
    subprocess.run([*keygen, str(tmp_path / "mine.pub")], check=True)
    folder = tmp_path / "server"
    folder.mkdir()
    with started(folder, free_port(), f"TrustedUserCAKeys {tmp_path / 'authority.pub'}") as server:
        options = {**server.options(server.new_root()), "private_key": str(tmp_path / "mine")}
        refusal(options)
        with opened({**options, "certificate": str(tmp_path / "mine-cert.pub")}) as location:
            put(location, "a", b"signed")


def test_through_a_jump_host(openssh: OpenSsh, tmp_path: Path) -> None:
    """The connection goes through another server, whose key has to be known too."""
    folder = tmp_path / "server"
    folder.mkdir()
    with started(folder, free_port()) as server:
        options = server.options(server.new_root())
        jump = {"host": "127.0.0.1", "port": openssh.port, "user": openssh.user}
        assert "is not in known_hosts" in refusal({**options, "proxy_jump": jump}).message
        append(openssh.folder / "authorized_keys", (server.folder / "user.pub").read_text())
        jump["known_hosts"] = str(openssh.known_hosts)
        with opened({**options, "proxy_jump": jump}) as location:
            put(location, "a", b"through the gate")
            assert read(location, "a") == b"through the gate"


def test_a_server_without_sftp(tmp_path: Path) -> None:
    with started(tmp_path, free_port(), "Match User *", "  ForceCommand /bin/echo Welcome") as server:
        assert "SFTP" in refusal(server.options(server.new_root())).message


def test_nobody_listens(openssh: OpenSsh) -> None:
    error = refusal({**openssh.options(openssh.new_root()), "port": free_port()})
    assert "cannot connect to" in error.message and "refused" in error.message.lower()


def test_what_is_shown_of_a_location_holds_no_secret(openssh: OpenSsh) -> None:
    options = {**openssh.options(openssh.new_root()), "passphrase": Secret("hush", "x")}
    assert "hush" not in DRIVER.describe(settings({**options, "password": Secret("hush", "x")}))
    assert DRIVER.describe(settings(options)).startswith(f"sftp://{openssh.user}@127.0.0.1:{openssh.port}/")
