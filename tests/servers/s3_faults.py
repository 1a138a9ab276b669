"""Scripted faults of an S3 service, as values: what it answers instead, how it lies about what it holds."""

from __future__ import annotations

import fnmatch
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

Edit = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the service sees it. `key` is empty for requests about the bucket."""

    method: str
    operation: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Asked:
        """A request of the path style: /bucket/key?query."""
        parts = urlsplit(target)
        bucket, _, key = parts.path.removeprefix("/").partition("/")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        named = {name.lower(): value for name, value in headers.items()}
        key = unquote(key, errors="surrogateescape")
        return cls(
            method, _operation(method, bool(key), query, named), unquote(bucket), key, query, named, body
        )


_OF_QUERY = {
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", "uploadId"): "ListParts",
    ("GET", "tagging"): "GetTagging",
    ("GET", "versioning"): "GetBucketVersioning",
    ("GET", "versions"): "ListObjectVersions",
    ("GET", "location"): "GetBucketLocation",
    ("PUT", "tagging"): "PutTagging",
    ("PUT", "versioning"): "PutBucketVersioning",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("POST", "delete"): "DeleteObjects",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("DELETE", "tagging"): "DeleteTagging",
}
_OF_OBJECT = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
_OF_BUCKET = {"GET": "ListObjectsV2", "HEAD": "HeadBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}


def _operation(method: str, about_object: bool, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    copies = "x-amz-copy-source" in headers
    if method == "PUT" and "partNumber" in query:
        return "UploadPartCopy" if copies else "UploadPart"
    for (of_method, name), operation in _OF_QUERY.items():
        if method == of_method and name in query:
            return operation
    if method == "PUT" and copies:
        return "CopyObject"
    return (_OF_OBJECT if about_object else _OF_BUCKET).get(method, method)


@dataclass(frozen=True, slots=True)
class Instead:
    """An answer of the proxy's own."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class S3Fault:
    """One scripted fault: made by the functions below.

    It counts the requests of `operation` (`*`: any) whose key matches the pattern `key` and which `only` accepts, and
    acts on the `nth` of them and the `times - 1` after it (`times` None: on all after it).

    before     done before the request is passed on
    instead    answered in place of the service's answer; with `carried_out` the service does what it was asked all
               the same; None with `lost`: the connection is reset without an answer
    cut_at     the body ends, and the connection with it, after so many bytes
    announced  what Content-Length says more (or less) than the service's answer has; less: the body ends there
    edit       what becomes of the body; its length is told rightly
    headers    what becomes of the answer's headers
    """

    operation: str
    key: str = "*"
    nth: int = 1
    times: int | None = 1
    only: Callable[[Asked], bool] | None = None
    before: Callable[[], None] | None = None
    instead: Instead | None = None
    carried_out: bool = False
    lost: bool = False
    cut_at: int | None = None
    announced: int = 0
    edit: Edit | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def matches(self, asked: Asked) -> bool:
        return (
            self.operation in ("*", asked.operation)
            and fnmatch.fnmatchcase(asked.key, self.key)
            and (self.only is None or self.only(asked))
        )

    def describe(self) -> str:
        return f"request {self.nth} of {self.operation}({self.key!r})"


def error_body(code: str, message: str = "scripted fault") -> bytes:
    """The XML that S3 tells an error with."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{escape(code)}</Code>'
        f"<Message>{escape(message)}</Message><RequestId>1</RequestId></Error>"
    ).encode()


def answers(
    operation: str, status: int, code: str, *, headers: Mapping[str, str] | None = None, **counting: object
) -> S3Fault:
    """An error in place of what was asked. `carried_out=True`: the service has done it all the same."""
    told = {"Content-Type": "application/xml", **(headers or {})}
    return S3Fault(operation, instead=Instead(status, told, error_body(code)), **counting)  # type: ignore[arg-type]


def slow_down(operation: str = "*", *, retry_after: str | None = "1", **counting: object) -> S3Fault:
    """503 SlowDown."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return answers(operation, 503, "SlowDown", headers=headers, **counting)


def skewed(operation: str = "*", **counting: object) -> S3Fault:
    """What a client gets whose clock is wrong."""
    return answers(operation, 403, "RequestTimeTooSkewed", **counting)


def fails_inside_200(**counting: object) -> S3Fault:
    """CompleteMultipartUpload answers 200 and says in the body that it failed."""
    return answers("CompleteMultipartUpload", 200, "InternalError", **counting)


def loses_answer(operation: str, **counting: object) -> S3Fault:
    """The service does what it was asked; the connection is reset before it can say so."""
    return S3Fault(operation, lost=True, carried_out=True, **counting)  # type: ignore[arg-type]


def cuts_body(at_byte: int, operation: str = "GetObject", **counting: object) -> S3Fault:
    """The headers promise the whole body, which ends early."""
    return S3Fault(operation, cut_at=at_byte, **counting)  # type: ignore[arg-type]


def misstates_length(by: int, operation: str = "GetObject", **counting: object) -> S3Fault:
    """Content-Length is wrong by so many bytes. Negative: a body that is short, and seems whole."""
    return S3Fault(operation, announced=by, **counting)  # type: ignore[arg-type]


def edits(operation: str, edit: Edit, **counting: object) -> S3Fault:
    """The body is another; its length is told rightly."""
    return S3Fault(operation, edit=edit, **counting)  # type: ignore[arg-type]


def meanwhile(operation: str, before: Callable[[], None], **counting: object) -> S3Fault:
    """Another client acts just before the request is passed on."""
    return S3Fault(operation, before=before, **counting)  # type: ignore[arg-type]


def tells(operation: str, headers: Mapping[str, str], **counting: object) -> S3Fault:
    """Headers of the answer are others."""
    return S3Fault(operation, headers=headers, **counting)  # type: ignore[arg-type]


# -- lies of a listing ---------------------------------------------------------------------------------------

_CONTENTS = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)


def doubled(page: bytes) -> bytes:
    """Each key of a page twice."""
    return _CONTENTS.sub(lambda found: found[0] * 2, page)


def backwards(page: bytes) -> bytes:
    """The keys of a page in the opposite order."""
    keys = _CONTENTS.findall(page)
    return _CONTENTS.sub(lambda found: keys.pop(), page)


def truncated_xml(page: bytes) -> bytes:
    """The page ends in the middle of its XML."""
    return page[: len(page) // 2]


def without_token(page: bytes) -> bytes:
    """The page says that more follows, and not where."""
    page = re.sub(rb"<NextContinuationToken>.*?</NextContinuationToken>", b"", page)
    return page.replace(b"<IsTruncated>false</IsTruncated>", b"<IsTruncated>true</IsTruncated>")


def emptied(page: bytes) -> bytes:
    """A page without keys that says that more follows: S3 may do that."""
    return _CONTENTS.sub(b"", page)


def outside(page: bytes) -> bytes:
    """The first key of a page lies outside of what was asked for."""
    return re.sub(rb"<Key>.*?</Key>", b"<Key>!outside/key</Key>", page, count=1)


def unsized(page: bytes) -> bytes:
    """The first key's size is negative."""
    return re.sub(rb"<Size>\d+</Size>", b"<Size>-1</Size>", page, count=1)


@dataclass(slots=True)
class _Counts:
    matched: int = 0
    fired: int = 0


class S3Script:
    """Faults with their counts; may be used from any thread."""

    def __init__(self, faults: Sequence[S3Fault] = ()) -> None:
        self._faults = [(fault, _Counts()) for fault in faults]
        self._lock = threading.Lock()

    def add(self, faults: Sequence[S3Fault]) -> None:
        with self._lock:
            self._faults += [(fault, _Counts()) for fault in faults]

    def due(self, asked: Asked) -> list[S3Fault]:
        """Count a request; the faults that act on it."""
        due = []
        with self._lock:
            for fault, counts in self._faults:
                if not fault.matches(asked):
                    continue
                counts.matched += 1
                late = fault.times is not None and counts.matched >= fault.nth + fault.times
                if counts.matched >= fault.nth and not late:
                    due.append(fault)
        return due

    def fire(self, fault: S3Fault) -> None:
        with self._lock:
            next(counts for one, counts in self._faults if one is fault).fired += 1

    @property
    def fired(self) -> tuple[int, ...]:
        with self._lock:
            return tuple(counts.fired for _, counts in self._faults)

    def assert_all_fired(self) -> None:
        with self._lock:
            silent = [fault.describe() for fault, counts in self._faults if not counts.fired]
        if silent:
            raise AssertionError("these scripted faults never fired: " + "; ".join(silent))
