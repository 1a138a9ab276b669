"""report --verify-chain: whether a task's reports are still those that were written."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import Callable

from runner.cli.session import Session
from runner.cli.text import Page, Style, counted, safe, wrapped
from runner.errors import ExitCode, UsageError
from runner.history.chain_check import ChainVerdict, Witnesses, check_chain
from runner.history.records import HistoryUnavailable
from runner.history.signing import Signed, check

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})\Z")


def verify_chain(session: Session, arguments: Namespace) -> int:
    """0: it holds, 5: it is broken."""
    if arguments.id or arguments.format or arguments.output:
        raise UsageError("--verify-chain checks a whole task: it goes with no ID, --format or --output")
    configuration = session.configuration()
    task = arguments.verify_chain
    state = session.services.state(configuration)
    verdict = check_chain(
        state,
        task,
        Witnesses(
            history=_known_to_history(session, task),
            expected=_digest(arguments.expect),
            signature=_signatures(session, arguments.allowed_signers),
            since=None if arguments.since is None else state.resolve_execution(arguments.since),
        ),
    )
    if verdict.holds and not verdict.links:
        # Tasks that were removed from the file keep their chains, so the name is judged only now.
        session.task(task)
    if session.output.json:
        session.output.value(verdict)
    session.output.result(chain_lines(verdict, session.page))
    return ExitCode.DONE if verdict.holds else ExitCode.VERIFICATION_FAILED


def chain_lines(verdict: ChainVerdict, page: Page) -> list[str]:
    """For people: how much was checked, where it breaks, what to keep."""
    counts = [counted(verdict.links, "report"), f"{verdict.checked:,} checked"]
    if verdict.retired:
        counts.append(f"{verdict.retired:,} removed by retention")
    if verdict.signed is not None:
        counts.append(f"{verdict.signed:,} signed")
    if verdict.unchained:
        counts.append(f"{verdict.unchained:,} from before the chain began")
    if verdict.holds and not verdict.links:
        title = page.paint("No report is in the chain yet.", Style.HEADING)
    elif verdict.holds:
        title = page.paint("The chain holds.", Style.GOOD, Style.HEADING)
    else:
        places = counted(len(verdict.breaks), "place")
        title = page.paint(f"The chain is broken in {places}.", Style.BAD, Style.HEADING)
    lines = [f"{page.paint(safe(verdict.task) + ':', Style.HEADING)} {title}", f"  {', '.join(counts)}"]
    for found in verdict.breaks:
        where = f"execution {found.execution_id}" if found.execution_id else f"line {found.sequence}"
        where = "the chain" if not found.execution_id and found.sequence is None else where
        text = f"{safe(where)}: {found.kind.value}: {safe(found.message)}"
        lines += wrapped(text, page, first="  ! ", rest="    ")
    if verdict.head is not None:
        lines += ["", f"  Head: execution {verdict.head.execution_id}, SHA-256 {verdict.head.report}"]
    return lines


def _known_to_history(session: Session, task: str) -> dict[str, str | None]:
    configuration = session.configuration()
    try:
        history = session.services.history(configuration, session.clock)
        try:
            return history.report_digests(task)
        finally:
            history.close()
    except HistoryUnavailable as error:
        session.output.tell([f"warning: history was not asked: {safe(error.message)}"])
        return {}


def _digest(text: str | None) -> str | None:
    if text is None:
        return None
    found = _DIGEST.match(text)
    if found is None:
        raise UsageError("option --expect: not a SHA-256 of 64 hexadecimal digits")
    return found[1].lower()


def _signatures(session: Session, file: str | None) -> Callable[[bytes, str, str], Signed] | None:
    allowed = os.path.abspath(file) if file else session.configuration().signing.allowed_signers
    if allowed is None:
        return None
    if not os.path.isfile(allowed):
        raise UsageError(
            f"the allowed-signers file {allowed} is not there",
            remedy='It has one line a key: NAME namespaces="sync-runner-report" ssh-ed25519 AAAA...',
        )
    return lambda content, signature, at: check(content, signature, allowed, at, session.environment)
