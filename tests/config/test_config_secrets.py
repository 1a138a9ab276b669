"""Secrets: references only, files closed to others, and no trace of a value anywhere."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from config_cases import Diagnose, Load

from runner.config.describe import describe_task
from runner.errors import ConfigurationError
from runner.model.task import Secret

CANARY = "c4nary-v4lue"


def vault(options: str, more: str = "") -> str:
    return (
        "version: 1\nlocations:\n  a: {type: folder, path: ./a}\n"
        f"  v: {{type: vault, url: u, {options}}}\n"
        f"tasks:\n  t: {{source: a, destination: v}}\n{more}"
    )


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(CANARY + "\n")
    path.chmod(0o600)
    return path


REFERENCES = [
    "{{ secret_file('secret') }}",
    "{{ secret_env('S') }}",
    "{{ credential('cred') }}",
    "{{ env.S }}",
    "prefix-{{ secret_env('S') }}",
    "{{ vars.s }}",
]


@pytest.mark.parametrize("reference", REFERENCES)
def test_references_become_secrets_and_print_as_stars(
    load: Load, secret_file: Path, tmp_path: Path, reference: str
) -> None:
    (tmp_path / "cred").write_text(CANARY)
    environment = {"S": CANARY, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    text = vault(f'password: "{reference}"', "vars: {s: \"{{ secret_env('S') }}\"}\n")
    configuration = load(text, environment)
    task = configuration.tasks["t"]
    password = task.destination.options["password"]
    assert isinstance(password, Secret)
    assert (password.reveal().removeprefix("prefix-"), password.reference) == (CANARY, reference)
    assert describe_task(task)["destination"]["options"] == {"url": "u", "password": "***"}
    shown = [repr(configuration), str(configuration), json.dumps(describe_task(task)), f"{password}"]
    assert [text for text in shown if CANARY in text] == []


def test_a_secret_function_makes_any_location_option_secret(load: Load) -> None:
    options = (
        load(vault("headers: {x: \"{{ secret_env('S') }}\"}"), {"S": CANARY}).tasks["t"].destination.options
    )
    assert repr(options) == "{'url': 'u', 'headers': {'x': ***}}"


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (f"password: {CANARY}", "password"),
        (f"key: '{CANARY}'", "key"),
        (f"headers: {{x: {CANARY}}}", "headers.*"),
        (f"password: [{CANARY}]", ""),
        (f"pasword: {CANARY}", ""),
        (f"my_token: {CANARY}, port: 99999999", ""),
    ],
)
def test_secrets_written_out_are_refused_and_never_shown(load: Load, options: str, where: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(vault(options))
    assert CANARY not in str(caught.value)
    if where:
        expected = f"the value of {where.replace('*', 'x')} is written out"
        assert [d.message for d in caught.value.diagnostics] == [expected]


def test_faults_around_a_secret_show_its_reference_only(diagnose: Diagnose) -> None:
    found = diagnose(
        vault("password: \"{{ secret_env('S') }}\", port: \"{{ secret_env('S') }}\""), {"S": CANARY}
    )
    assert [d.message for d in found] == ["\"{{ secret_env('S') }}\" does not fit port"]
    assert CANARY not in "".join(d.render() for d in found)


@pytest.mark.parametrize(
    ("description", "mode", "expected", "remedy"),
    [
        ("group may read", 0o640, "is open to others (mode 0640)", "chmod 600"),
        ("all may read", 0o604, "is open to others (mode 0604)", "chmod 600"),
        ("group may write", 0o620, "is open to others (mode 0620)", "chmod 600"),
    ],
)
def test_open_secret_files_are_refused(
    diagnose: Diagnose, secret_file: Path, description: str, mode: int, expected: str, remedy: str
) -> None:
    secret_file.chmod(mode)
    (found,) = diagnose(vault("password: \"{{ secret_file('secret') }}\""))
    assert found.message == f"the secret file 'secret' {expected}"
    assert remedy in str(found.suggestion)


def test_what_is_no_secret_file_is_refused(diagnose: Diagnose, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch(0o600)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "huge").write_text("x" * 70_000)
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    messages = {
        "folder": "the secret file 'folder' cannot be read: is a folder, not a file",
        "pipe": "the secret file 'pipe' cannot be read: is not a regular file",
        "empty": "the secret file 'empty' is empty",
        "binary": "the secret file 'binary' is not UTF-8 text",
        "huge": "the secret file 'huge' is larger than 64 KiB",
        "none": "the secret file 'none' cannot be read: No such file or directory",
    }
    for name, expected in messages.items():
        (found,) = diagnose(vault(f"password: \"{{{{ secret_file('{name}') }}}}\""))
        assert found.message == expected


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="changes an owner")
def test_a_secret_file_of_another_user_is_refused(diagnose: Diagnose, secret_file: Path) -> None:
    os.chown(secret_file, 65534, 65534)
    (found,) = diagnose(vault("password: \"{{ secret_file('secret') }}\""))
    assert found.message == "the secret file 'secret' belongs to user 65534, not to us or root"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ secret_env('NOPE') }}", "the environment variable NOPE is not set"),
        ("{{ credential('x') }}", "there is no systemd credential 'x': CREDENTIALS_DIRECTORY is not set"),
    ],
)
def test_missing_secrets_are_named(diagnose: Diagnose, template: str, expected: str) -> None:
    assert [d.message for d in diagnose(vault(f'password: "{template}"'))] == [expected]


def test_credentials_stay_in_their_folder(diagnose: Diagnose, tmp_path: Path) -> None:
    (found,) = diagnose(
        vault("password: \"{{ credential('../secret') }}\""), {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    )
    assert found.message == "'../secret' is not the name of a systemd credential"


def test_secrets_stand_in_locations_and_history_only(load: Load, diagnose: Diagnose) -> None:
    secret = "\"{{ secret_env('S') }}\""
    history = "\"postgresql://u:{{ secret_env('S') }}@h/d\""
    configuration = load(f"version: 1\nsettings: {{history: {history}}}\n", {"S": CANARY})
    assert configuration.history_url == f"postgresql://u:{CANARY}@h/d"
    found = diagnose(f"version: 1\nsettings: {{state: {secret}}}\n", {"S": CANARY})
    assert [d.message for d in found] == ["a secret cannot be used in settings.state"]
    inline = f"{{type: vault, url: u, password: {secret}}}"
    text = f"version: 1\ntasks:\n  t: {{source: {inline}, destination: {{type: vault, url: w}}"
    text += f", description: {secret}}}"
    found = diagnose(text, {"S": CANARY})
    assert [d.message for d in found] == ["a secret cannot be used in tasks.t.description"]


def test_a_history_password_written_out_is_refused(diagnose: Diagnose) -> None:
    (found,) = diagnose(f"version: 1\nsettings: {{history: 'postgresql://u:{CANARY}@h/d'}}\n")
    assert found.message == "the password in settings.history is written out"
    assert CANARY not in found.render()
