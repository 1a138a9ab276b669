"""What a failed request means: the only place where S3's answers become EntryErrors."""

from __future__ import annotations

from collections.abc import Mapping

from runner.errors import Disposition, EntryCode, EntryError
from runner.model.wire import terminal_safe

from ..objects.client import ConditionFailedError
from .wire import WireError

_SLOW_DOWN = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "OperationAborted",
        "BandwidthLimitExceeded",
    }
)
_CODES: dict[str, EntryCode] = {
    "NoSuchKey": EntryCode.NOT_FOUND,
    "NoSuchVersion": EntryCode.NOT_FOUND,
    "NoSuchUpload": EntryCode.NOT_FOUND,
    "NotFound": EntryCode.NOT_FOUND,
    "NoSuchBucket": EntryCode.UNAVAILABLE,
    "InvalidObjectState": EntryCode.LOCKED,
    "ObjectLockConfigurationNotFoundError": EntryCode.IO_ERROR,
    "KeyTooLongError": EntryCode.NAME_NOT_ALLOWED,
    "InvalidURI": EntryCode.NAME_NOT_ALLOWED,
    "BadDigest": EntryCode.CHECKSUM_FAILURE,
    "InvalidDigest": EntryCode.CHECKSUM_FAILURE,
    "XAmzContentSHA256Mismatch": EntryCode.CHECKSUM_FAILURE,
    "XAmzContentChecksumMismatch": EntryCode.CHECKSUM_FAILURE,
    "IncompleteBody": EntryCode.TIMEOUT,
    "EntityTooLarge": EntryCode.NO_SPACE,
    "QuotaExceeded": EntryCode.NO_SPACE,
    "XMinioStorageFull": EntryCode.NO_SPACE,
    "MetadataTooLarge": EntryCode.ATTRIBUTES_REFUSED,
    "InvalidTag": EntryCode.ATTRIBUTES_REFUSED,
    "RequestTimeout": EntryCode.TIMEOUT,
    "RequestTimeTooSkewed": EntryCode.PERMISSION_DENIED,
}
_HINTS: dict[str, str] = {
    "RequestTimeTooSkewed": "this machine's clock is off by more than the server allows: set it",
    "InvalidObjectState": "it is archived: restore it first",
    "SignatureDoesNotMatch": "the secret key is wrong, or the region is",
    "AuthorizationHeaderMalformed": "the region is wrong: set `region`",
    "PermanentRedirect": "the bucket is in another region: set `region`",
    "InvalidAccessKeyId": "the server does not know the access key",
    "ExpiredToken": "the session token has expired",
    "EntityTooLarge": "it is larger than the server takes",
}
_BY_STATUS: dict[int, EntryCode] = {
    401: EntryCode.PERMISSION_DENIED,
    403: EntryCode.PERMISSION_DENIED,
    404: EntryCode.NOT_FOUND,
    408: EntryCode.TIMEOUT,
    411: EntryCode.INTERNAL,
    413: EntryCode.NO_SPACE,
    414: EntryCode.NAME_NOT_ALLOWED,
    416: EntryCode.CHANGED_DURING_TRANSFER,
    431: EntryCode.ATTRIBUTES_REFUSED,
    504: EntryCode.TIMEOUT,
    507: EntryCode.NO_SPACE,
}
CONDITION_STATUSES = frozenset({304, 409, 412})


def refusal(
    status: int, code: str, text: str, headers: Mapping[str, str], key: str, doing: str
) -> EntryError | ConditionFailedError:
    """The error for a reply that is none of success. `doing`: "read", "store", ..."""
    if status in (304, 412) or (
        status == 409 and code in ("ConditionalRequestConflict", "PreconditionFailed")
    ):
        return ConditionFailedError(key)
    said = f"{code}: {text}" if code and text else code or text or f"HTTP {status}"
    hint = f"; {_HINTS[code]}" if code in _HINTS else ""
    region = headers.get("x-amz-bucket-region")
    if region and status in (301, 307, 400):
        hint = f"; the bucket is in region {region}: set `region: {region}`"
    message = f"cannot {doing} {terminal_safe(key) or 'the bucket'}: {terminal_safe(said)}{hint}"
    if code in _SLOW_DOWN or (code not in _CODES and status in (429, 500, 502, 503)):
        after = headers.get("retry-after", "")
        # UNAVAILABLE ends the execution when it lasts; a server that answers may serve all other keys.
        return EntryError(
            EntryCode.TIMEOUT,
            key,
            message,
            disposition=Disposition.RETRY,
            retry_after_seconds=float(after) if after.isdigit() else None,
        )
    entry_code = _CODES.get(code) or _BY_STATUS.get(status) or EntryCode.IO_ERROR
    disposition = None
    if code in ("IncompleteBody",):
        disposition = Disposition.RETRY
    elif code == "EntityTooLarge" or (entry_code is EntryCode.IO_ERROR and status in (400, 405, 501)):
        # The server will not think better of it, and other objects may pass.
        disposition = Disposition.SKIP
    return EntryError(entry_code, key, message, disposition=disposition)


def lost(error: WireError, key: str, doing: str) -> EntryError:
    """The error for a connection that could not be made (UNAVAILABLE), broke or was silent (TIMEOUT)."""
    code = EntryCode.UNAVAILABLE if error.unsent else EntryCode.TIMEOUT
    message = f"cannot {doing} {terminal_safe(key) or 'the bucket'}: {error}"
    return EntryError(code, key, message, disposition=Disposition.RETRY)
