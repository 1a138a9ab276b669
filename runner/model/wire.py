"""Values as JSON lines and back, exactly, also where a name is not UTF-8.

A text value that is not valid UTF-8 (surrogateescape) is written twice: `path` with U+FFFD for people, and
`path_b64` with the true bytes, which decoding prefers. Inside lists such a value is {"$b64": "..."}.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder()
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}
_BUILDING = threading.Lock()
"""msgspec (0.22) crashes when two threads look into the same types for the first time at once."""


def encode_line(value: object) -> bytes:
    """One JSON object, without a newline."""
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        return _ENCODER.encode(to_json_value(value))


def encode_lines(values: Sequence[object]) -> bytes:
    """What `encode_line` makes of each, and a newline after each, in half the time."""
    try:
        return _ENCODER.encode_lines(values)
    except UnicodeEncodeError:
        return b"".join(encode_line(value) + b"\n" for value in values)


def decode_line(line: bytes, into: type[T]) -> T:
    """The value that `encode_line` wrote. Raises msgspec.ValidationError or msgspec.DecodeError, whatever the line is."""
    decoder = _DECODERS.get(into)
    if decoder is None:
        with _BUILDING:
            decoder = _DECODERS.setdefault(into, _DECODERS.get(into) or msgspec.json.Decoder(into))
    try:
        if b'b64"' in line:
            return msgspec.convert(_restored(msgspec.json.decode(line)), into)
        value: T = decoder.decode(line)
    except RecursionError as error:
        raise msgspec.DecodeError("nested too deeply") from error
    return value


def decoder_of(lines: bytes, into: type[T]) -> Callable[[bytes], T]:
    """What `decode_line` does with each of these lines, found out once for all of them."""
    if b'b64"' in lines:
        return lambda line: decode_line(line, into)
    decoder = _DECODERS.get(into)
    if decoder is None:
        with _BUILDING:
            decoder = _DECODERS.setdefault(into, _DECODERS.get(into) or msgspec.json.Decoder(into))
    return decoder.decode


def decode_lines(lines: bytes, into: type[T]) -> list[T]:
    """What `decode_line` does with each of these lines, in a third of the time. It raises for all of them at once."""
    if b'b64"' in lines:
        return [decode_line(line, into) for line in lines.splitlines()]
    decoder_of(b"", into)
    try:
        values: list[T] = _DECODERS[into].decode_lines(lines)
    except RecursionError as error:
        raise msgspec.DecodeError("nested too deeply") from error
    return values


def to_json_value(value: object) -> Any:
    """Plain JSON types that any encoder accepts, with the *_b64 companions where needed."""
    return _escaped(msgspec.to_builtins(value))


def display(text: str) -> str:
    """A name as people may see it: not UTF-8 becomes U+FFFD. Control characters stay: sinks escape their own."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def terminal_safe(text: str) -> str:
    """A name for a terminal or a log: control, format and undecodable characters as visible escapes."""
    if text.isascii() and text.isprintable():
        return text
    pieces = []
    for character in text:
        point = ord(character)
        if 0xDC80 <= point <= 0xDCFF:
            pieces.append(f"\\x{point - 0xDC00:02x}")
        elif character.isprintable():
            pieces.append(character)
        elif point <= 0xFF:
            pieces.append({"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character, f"\\x{point:02x}"))
        else:
            pieces.append(f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}")
    return "".join(pieces)


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _b64(text: str) -> str:
    import base64

    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii")


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        escaped = {}
        for key, inner in value.items():
            if isinstance(inner, str) and not _is_utf8(inner):
                escaped[key] = display(inner)
                escaped[f"{key}_b64"] = _b64(inner)
            else:
                escaped[key] = _escaped(inner)
        return escaped
    if isinstance(value, (list, tuple)):
        return [_escaped(inner) for inner in value]
    if isinstance(value, str) and not _is_utf8(value):
        return {"$b64": _b64(value)}
    return value


def _text(encoded: object) -> str:
    """Raises msgspec.ValidationError for what is no base64: a guess at a name could be another file's."""
    import base64

    try:
        if not isinstance(encoded, str):
            raise ValueError
        return base64.b64decode(encoded, validate=True).decode("utf-8", "surrogateescape")
    except ValueError as error:
        raise msgspec.ValidationError("a *_b64 value is not base64") from error


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"$b64"}:
            return _text(value["$b64"])
        restored = {key: _restored(inner) for key, inner in value.items() if not key.endswith("_b64")}
        for key, inner in value.items():
            if key.endswith("_b64"):
                restored[key[: -len("_b64")]] = _text(inner)
        return restored
    if isinstance(value, list):
        return [_restored(inner) for inner in value]
    return value
