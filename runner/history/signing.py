"""Signatures of reports, made and checked by OpenSSH: `ssh-keygen -Y sign` and `-Y verify` (PROTOCOL.sshsig).

The key stays with ssh-keygen or the agent. A passphrase is never asked for, and never handed over: a key that has one
is used through ssh-agent. What the key is called and where it lies is in the arguments, nothing else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import NamedTuple

from runner.errors import ExitCode, RunnerError
from runner.model.wire import terminal_safe

NAMESPACE = "sync-runner-report"
SIGN_SECONDS = 30.0
"""An agent may ask a person, or a token for a touch; an execution does not wait for that for ever."""
_PASSED_ON = ("PATH", "HOME", "SSH_AUTH_SOCK", "SSH_SK_PROVIDER", "SSH_PKCS11_HELPER")


class SigningError(RunnerError):
    """ssh-keygen is missing, or does not sign or check."""

    code = "signing"
    exit_code = ExitCode.USAGE


class Signed(NamedTuple):
    """Whether a signature holds; `signer` is the principal of the allowed-signers file, `fault` says why not."""

    signer: str | None
    fault: str | None


def sign(content: bytes, key: str, environment: Mapping[str, str]) -> bytes:
    """The armoured signature of a report's bytes by a private key, or by the agent's key of which `key` is the
    public half. Raises SigningError."""
    ran = _ssh_keygen(["-Y", "sign", "-f", key, "-n", NAMESPACE], content, environment)
    if ran.returncode != 0 or not ran.stdout.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise SigningError(
            f"the report was not signed with {key}: {_last_line(ran)}",
            remedy="The key must be readable, and have no passphrase or be known to ssh-agent (SSH_AUTH_SOCK).",
        )
    return ran.stdout


def check(
    content: bytes, signature_file: str, allowed_signers: str, at: str, environment: Mapping[str, str]
) -> Signed:
    """Who of `allowed_signers` (ssh-keygen(1), ALLOWED SIGNERS) signed a report's bytes. `at`: when, RFC 3339 UTC; a
    key's dates of validity are held against it. Raises SigningError when ssh-keygen cannot be run."""
    when = "-Overify-time=" + "".join(character for character in at[:19] if character.isdigit())
    files = ["-f", allowed_signers, "-s", signature_file]
    found = _ssh_keygen(["-Y", "find-principals", *files, when], b"", environment)
    principals = found.stdout.decode("utf-8", "replace").splitlines()
    if found.returncode != 0 or not principals:
        return Signed(None, f"no key of {allowed_signers} made the signature ({_last_line(found)})")
    verified = _ssh_keygen(
        ["-Y", "verify", *files, "-I", principals[0], "-n", NAMESPACE, when], content, environment
    )
    if verified.returncode != 0:
        return Signed(None, f"the signature does not hold ({_last_line(verified)})")
    return Signed(principals[0], None)


def _ssh_keygen(
    arguments: list[str], content: bytes, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    known = {name: environment[name] for name in _PASSED_ON if name in environment}
    program = shutil.which("ssh-keygen", path=known.get("PATH", os.defpath))
    if program is None:
        raise SigningError(
            "reports cannot be signed or checked: there is no ssh-keygen here",
            remedy="Install OpenSSH 8.9 or later (Debian: openssh-client).",
        )
    try:
        return subprocess.run(
            [program, *arguments],
            input=content,
            capture_output=True,
            timeout=SIGN_SECONDS,
            # Without a terminal of its own and without a helper nobody can be asked for a passphrase.
            start_new_session=True,
            # Not every version knows a time with a zone.
            env={**known, "LC_ALL": "C", "TZ": "UTC", "SSH_ASKPASS_REQUIRE": "never"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SigningError(f"ssh-keygen did not answer within {SIGN_SECONDS:g} s") from error
    except OSError as error:
        raise SigningError(f"{program} cannot be run: {error.strerror or error}") from error


def _last_line(ran: subprocess.CompletedProcess[bytes]) -> str:
    lines = ran.stderr.decode("utf-8", "replace").split("\n")
    told = [line.strip() for line in lines if line.strip()]
    return terminal_safe(told[-1]) if told else f"exit code {ran.returncode}"
