"""Messages through Apprise to real receivers: JSON over HTTP, and mail."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import Message as Mail

import pytest
from alerts_support import Receiver, mail_server, receiver

from runner.alerts.messages import Message
from runner.alerts.notify import DEADLINE_SECONDS, Sending, Sent, send_to
from runner.clock import SystemClock
from runner.model.secret import Secret

# Apprise loads all its services at once; some of them, modules that later versions of Python drop.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated and slated for removal:DeprecationWarning")

SECRET = "tok3n-hunter2"
MESSAGE = Message(
    "photos failed", "3 files failed\n  <script>alert(1)</script> *x* & {{ 7*7 }} \\x1b[31m :smile:"
)
CLOCK = SystemClock()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with receiver() as running:
        yield running


def send(url: str, message: Message = MESSAGE, kind: str = "failure") -> str | None:
    (sent,) = send_to(["ops"], {"ops": Secret(url, "")}, message, kind, CLOCK)
    assert sent.channel == "ops"
    return sent.error


def test_a_message_arrives_as_it_is(service: Receiver) -> None:
    assert send(f"json://{service.base}/{SECRET}") is None
    assert service.seen == [("POST", f"/{SECRET}")]
    value = service.requests[0].value
    assert (value["title"], value["message"], value["type"]) == (MESSAGE.subject, MESSAGE.body, "failure")
    assert service.requests[0].headers["User-Agent"] == "sync-runner"


@pytest.mark.parametrize("kind", ["info", "success", "warning", "failure"])
def test_services_are_told_how_grave_it_is(kind: str, service: Receiver) -> None:
    assert send(f"json://{service.base}/", kind=kind) is None
    assert service.requests[0].value["type"] == kind


def test_mail_arrives_and_names_are_no_markup() -> None:
    with mail_server() as (port, mails):
        url = f"mailto://127.0.0.1:{port}/?from=runner@example.com&to=ops@example.com&mode=insecure"
        assert send(url, Message("Größe: photos failed", MESSAGE.body)) is None
    (mail,) = mails
    assert str(make_header(decode_header(mail["Subject"]))) == "Größe: photos failed"
    assert "ops@example.com" in mail["To"]
    texts = {part.get_content_type(): content(part) for part in mail.walk() if not part.is_multipart()}
    assert texts.pop("text/plain").split() == MESSAGE.body.split()
    # Older versions of Apprise add a page, too: names are escaped there.
    assert [kind for kind, text in texts.items() if "<script>" in text] == []


def content(part: Mail) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


def test_channels_are_told_side_by_side_and_each_has_its_own_result(service: Receiver) -> None:
    channels = {
        "good": Secret(f"json://{service.base}/good", ""),
        "none": Secret("nosuchservice://x", ""),
        "also": Secret(f"json://{service.base}/also", ""),
    }
    assert send_to(["also", "none", "good"], channels, MESSAGE, "info", CLOCK) == [
        Sent("also", None),
        Sent("none", "Apprise does not know such an address, or it lacks a part"),
        Sent("good", None),
    ]
    assert sorted(service.seen) == [("POST", "/also"), ("POST", "/good")]


def test_a_service_that_hangs_is_given_up(service: Receiver) -> None:
    service.hold = threading.Event()
    sending = Sending(CLOCK)
    sending.send("slow", Secret(f"json://{service.base}/{SECRET}?rto=60", ""), MESSAGE, "info")
    sending.send("none", Secret("nosuchservice://x", ""), MESSAGE, "info")
    slow, none = sending.wait(0.5)
    assert slow == Sent("slow", "the service did not answer within 0.5 s")
    assert none.error is not None
    service.hold.set()
    assert sending.wait(DEADLINE_SECONDS)[0] == Sent("slow", None)


def test_what_the_service_answered_is_told(service: Receiver) -> None:
    service.answers = [(503, {})]
    error = send(f"json://{service.base}/{SECRET}/")
    assert error is not None
    # The words are Apprise's and differ between its versions.
    assert error.startswith("Failed to send JSON") and error.endswith("error=503")


def test_words_that_could_be_a_part_of_the_address_are_not_told(service: Receiver) -> None:
    service.answers = [(403, {})]
    assert send(f"json://{service.base}/notification") == "the service did not take it (HTTP 403)"


class Everything(logging.Handler):
    """What reaches the root logger, as a program's log file would have it."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("apprise"):
            self.text += record.getMessage() + "\n"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Everything]:
    handler = Everything()
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.DEBUG)
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


def test_no_secret_is_ever_told(
    service: Receiver, log: Everything, capfd: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        service.answers = [(403, {})]
        urls = [
            f"json://user:{SECRET}@{service.base}/{SECRET}?to={SECRET}&-h={SECRET}",
            f"json://{SECRET}:{SECRET}@127.0.0.1:{port}/{SECRET}",
            f"mailto://{SECRET}:{SECRET}@127.0.0.1:{port}/?from=a@b.c&to={SECRET}@b.c&mode=insecure",
            f"discord://{SECRET}",
            f"slack://{SECRET}/{SECRET}",
            f"{SECRET}://x",
            f"tgram://{SECRET}/",
            f"json://{SECRET}:99999999/{SECRET}",
            f"mailto://{SECRET}",
        ]
        errors = [send(url) for url in urls]
    assert all(errors)
    assert SECRET not in "\n".join(map(str, errors)) + "".join(capfd.readouterr())
    assert log.text == ""


def test_without_apprise_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "apprise", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert send("json://127.0.0.1/") == (
        "notifications need the package apprise, which is not installed. "
        "Install the extra: pip install 'sync-runner[notify]'"
    )
