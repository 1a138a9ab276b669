"""Names that are not UTF-8 come back exactly, and what is no base64 is refused: a guess could name another file."""

from __future__ import annotations

import msgspec
import pytest

from runner.model.entry import Entry, Kind
from runner.model.wire import decode_line, encode_line


def test_a_name_that_is_not_utf8_comes_back() -> None:
    entry = Entry("a\udcff\n/ü", Kind.FILE)
    assert decode_line(encode_line(entry), Entry) == entry


DAMAGED = [
    ("a character that base64 has not, which a lenient decoder drops", b'"Yf8*="'),
    ("a line break", b'"Yf8=\\n"'),
    ("no padding", b'"Yf8"'),
    ("text behind the padding", b'"Yf8=YQ=="'),
    ("not ASCII", '"Yf8é"'.encode()),
    ("a number", b"7"),
    ("nothing", b"null"),
]


@pytest.mark.parametrize("value", [case[1] for case in DAMAGED], ids=[case[0] for case in DAMAGED])
def test_what_is_no_base64_is_refused(value: bytes) -> None:
    with pytest.raises(msgspec.ValidationError, match="not base64"):
        decode_line(b'{"path":"a","path_b64":' + value + b',"kind":"file"}', Entry)
