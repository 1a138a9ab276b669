"""settings.history: which databases it may name, where a relative file lies, and no password in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_cases import Diagnose, Load

CANARY = "s3cr3t-canary"


def settings(history: str) -> str:
    return f"version: 1\nsettings: {{history: '{history}'}}\n"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///history.db", "sqlite:///{folder}/history.db"),
        ("sqlite:///./sub/h.db", "sqlite:///{folder}/./sub/h.db"),
        ("sqlite:////var/lib/h.db", "sqlite:////var/lib/h.db"),
        ("postgresql+psycopg://u@h/d?sslmode=verify-full", "postgresql+psycopg://u@h/d?sslmode=verify-full"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
    ],
)
def test_a_relative_file_lies_beside_the_configuration(
    load: Load, tmp_path: Path, url: str, expected: str
) -> None:
    assert load(settings(url)).history_url == expected.format(folder=tmp_path)


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "postgresql+psycopg2://h/d", "history.sqlite", "postgresql:h"]
)
def test_other_databases_are_refused(diagnose: Diagnose, url: str) -> None:
    (found,) = diagnose(settings(url))
    assert found.expected is not None and "postgresql+psycopg://" in found.expected


@pytest.mark.parametrize("name", ["password", "sslpassword"])
def test_a_password_in_the_query_is_refused(diagnose: Diagnose, name: str) -> None:
    (found,) = diagnose(settings(f"postgresql://u@h/d?{name}={CANARY}"))
    assert found.message == "the password in settings.history is written out"
    assert CANARY not in found.render()
