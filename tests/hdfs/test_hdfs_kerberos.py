"""A cluster with Kerberos: a key distribution centre, block tokens, encrypted calls and data."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hdfs_support import opened, put, read, refusal
from servers.serve_hdfs import KERBEROS, Hdfs, serve_hdfs

from runner.errors import Disposition, EntryError
from runner.model.task import Secret

pytestmark = pytest.mark.servers

PRIVACY = ("dfs.data.transfer.protection=privacy", "hadoop.rpc.protection=privacy")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hdfs]:
    with serve_hdfs(tmp_path_factory.mktemp("secure"), configuration=(KERBEROS, *PRIVACY)) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _realm(secure: Hdfs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRB5_CONFIG", str(secure.folder / "krb5.conf"))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{secure.folder / 'no-cache'}")


def with_keys(cluster: Hdfs, **more: Any) -> dict[str, Any]:
    return {
        "namenodes": [f"localhost:{cluster.ports[0]}"],
        "path": cluster.new_root(),
        "authentication": "kerberos",
        "kerberos_principal": "backup@EXAMPLE.COM",
        "kerberos_keytab": str(cluster.folder / "keytab"),
        "data_transfer_protection": "privacy",
        "timeout": "20s",
        **more,
    }


def test_content_goes_there_and_back_encrypted(secure: Hdfs) -> None:
    content = bytes(range(256)) * 10_000
    with opened(with_keys(secure)) as location:
        put(location, "d/a", content)
        assert read(location, "d/a") == content
        assert [one.path for one in location.scan()] == ["", "d/", "d/a"]


def test_without_data_transfer_protection_content_is_refused_by_the_datanodes(secure: Hdfs) -> None:
    with opened(with_keys(secure, data_transfer_protection="disabled")) as location:
        with pytest.raises(EntryError) as caught:
            put(location, "a", b"x")
        assert caught.value.disposition is Disposition.RETRY
        assert location.stat("a") is None


@pytest.mark.parametrize(
    "changes", [{"kerberos_principal": "nobody@EXAMPLE.COM"}, {"kerberos_keytab": "/nonexistent/keytab"}]
)
def test_refused_credentials_say_where_to_look(secure: Hdfs, changes: dict[str, str]) -> None:
    error = refusal(with_keys(secure, **changes))
    assert "authentication failed" in error.message
    assert "keytab" in (error.remedy or "")


def test_a_user_name_alone_is_refused(secure: Hdfs, tmp_path: Path) -> None:
    options = {"namenodes": [f"localhost:{secure.ports[0]}"], "path": "/x", "user": "hdfs", "timeout": "20s"}
    assert "cannot be used" in refusal(options).message


def test_a_delegation_token_opens_webhdfs(secure: Hdfs) -> None:
    """Also at the DataNodes, for which the NameNode puts a token into the address."""
    token = secure.tell("token").removeprefix("OK ")
    options = {
        "transport": "webhdfs",
        "namenodes": [f"localhost:{secure.ports[1]}"],
        "path": secure.new_root(),
        "authentication": "token",
        "timeout": "20s",
    }
    with opened({**options, "delegation_token": Secret(token, "test")}) as location:
        put(location, "d/a", b"with a token")
        assert read(location, "d/a") == b"with a token"
        location.remove(location.stat("d/a"))
    error = refusal({**options, "delegation_token": Secret("AAAA" + token[4:], "test")})
    assert "cannot be used" in error.message and token[4:20] not in error.message


def test_kerberos_over_http(secure: Hdfs) -> None:
    """With the packages it works; without them the message names them."""
    keys = {name: value for name, value in with_keys(secure).items() if name != "data_transfer_protection"}
    options = {**keys, "transport": "webhdfs", "namenodes": [f"localhost:{secure.ports[1]}"]}
    if find_spec("gssapi") is None or find_spec("krb5") is None:
        assert "pyspnego[kerberos]" in (refusal(options).remedy or "")
        return
    with opened(options) as location:
        put(location, "a", b"negotiated")
        assert read(location, "a") == b"negotiated"
