"""Messages: the built-in templates, a user's own, and names that mean harm."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from alerts_support import EXECUTION, HOSTILE, failed, hostile, make_report, make_task, standings

from runner.alerts.facts import Facts, facts_of
from runner.alerts.messages import BODY_AT_MOST, SUBJECT_AT_MOST, Template, check_templates, compose
from runner.errors import ExitCode
from runner.model.entry import Phase
from runner.model.execution import GuardVerdict, Report

DOCS = Path(__file__).resolve().parents[2] / "docs" / "notifications.md"


def facts(*executions: Report, disable_after: int = 0) -> Facts:
    before, after = standings(*executions, disable_after=disable_after)
    disabled = after.rest is not None
    told = facts_of(make_task(), executions[-1], f"/s/{EXECUTION}", before, after, disabled)
    return {**told, "occasion": "failure"}


REFUSED = make_report(
    Phase.ERROR, ExitCode.GUARD_REFUSED, guards=(GuardVerdict("max_deletions", "120 of 200", "Look first."),)
)


@pytest.mark.parametrize(
    ("template", "told", "subject", "lines"),
    [
        (
            Template.FAILURE, facts(failed(), failed()),
            "[sync-runner] photos failed on nas: Not everything could be done",
            ["It ended.", "It is failure number 2 in a row; there was no success yet.",
             "  a/b [permission_denied] not allowed",
             f"The whole report: sync-runner report {EXECUTION} -c '/etc/sync runner.yaml'"],
        ),
        (Template.FAILURE, facts(make_report(), failed()), None, ["It ended.", "Task:      photos (Pictures)"]),
        (Template.PARTIAL, facts(failed(done=2)), "[sync-runner] photos was done only in part on nas",
         ["Transferred: 2 files, 2.0 KiB", "Problems (1):"]),
        (Template.GUARD, facts(REFUSED), "[sync-runner] photos was refused by a guard on nas: max_deletions",
         ["  max_deletions: 120 of 200", "  Look first."]),
        (Template.RECOVERY, facts(make_report(), failed(), make_report(done=1)), "[sync-runner] photos works again on nas",
         ["It is the first success after 1 failure; the one before was at 2026-03-01 02:01:15 UTC.",
          "Transferred: 1 file, 1.0 KiB"]),
        (Template.ALWAYS, facts(make_report(done=1)), "[sync-runner] photos on nas: Done", ["Exit code: 0"]),
        (Template.DISABLED, facts(failed(), failed(), disable_after=2),
         "[sync-runner] photos is disabled on nas: it failed 2 times in a row",
         ["When the cause is gone: sync-runner resume photos -c '/etc/sync runner.yaml'"]),
    ],
)  # fmt: skip
def test_built_in_messages(template: Template, told: Facts, subject: str | None, lines: list[str]) -> None:
    message = compose(template, told, None)
    if subject is not None:
        assert message.subject == subject
    assert [line for line in lines if line not in message.body.splitlines()] == []
    assert "\n\n\n" not in message.body


def test_what_is_not_there_is_not_mentioned() -> None:
    body = compose(Template.FAILURE, facts(failed(problems=())), None).body
    assert [word for word in ("Problems", "Findings", "Refused", "failure number") if word in body] == []


@pytest.mark.parametrize("template", [one for one in Template if one not in (Template.DIGEST, Template.TEST)])
def test_hostile_names_stay_on_their_line_and_are_no_template(template: Template) -> None:
    message = compose(template, facts(failed(), hostile()), None)
    text = message.subject + "\n" + message.body
    assert all(character == "\n" or character.isprintable() for character in text)
    assert "49" not in text
    assert (HOSTILE in text, text.encode("utf-8") != b"") == (False, True)


def test_only_the_first_problems_are_listed() -> None:
    body = compose(Template.FAILURE, facts(hostile()), None).body
    assert body.count("[io_error]") == 10
    assert "  ... and 2 more" in body.splitlines()


# -- templates of the user's own -----------------------------------------------------------------------------


def test_a_users_template_is_used_and_the_others_are_built_in(tmp_path: Path) -> None:
    (tmp_path / "failure.j2").write_text("{{ task }} broke\n\n{{ summary }}\n{% include '_about.j2' %}\n")
    warnings: list[str] = []
    message = compose(Template.FAILURE, facts(failed()), str(tmp_path), warnings.append)
    assert (message.subject, message.body.splitlines()[:2]) == (
        "photos broke",
        ["It ended.", "Task:      photos (Pictures)"],
    )
    other = compose(Template.RECOVERY, facts(failed(), make_report()), str(tmp_path), warnings.append)
    assert other.subject == "[sync-runner] photos works again on nas"
    assert warnings == []


@pytest.mark.parametrize(
    ("description", "content", "said"),
    [
        ("a name that does not exist", "{{ tsk }}", "'tsk' is undefined"),
        ("a syntax error", "one\n{% if %}", "line 2: Expected an expression, got 'end of statement block'"),
        ("a way out of the sandbox", "{{ ''.__class__.__mro__ }}",
         "access to attribute '__class__' of 'str' object is unsafe."),
        ("a change of what it is given", "{{ problems.append(1) }}",
         "access to attribute 'append' of 'list' object is unsafe."),
        ("a file from elsewhere", "{% include '../secret.j2' %}", "../secret.j2"),
        ("no subject", "\n \n{# nothing #}\n", "its first line, the subject, is empty"),
        ("a wrong calculation", "{{ 1 / 0 }}", "division by zero"),
        ("not UTF-8", b"\xff\xfe", "can't decode byte 0xff"),
        ("far too many rounds", "{% for i in range(10**9) %}x{% endfor %}", "Range too big"),
    ],
)  # fmt: skip
def test_a_faulty_template_is_replaced_and_told(
    description: str, content: str | bytes, said: str, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (tmp_path / "secret.j2").write_text("secret")
    (folder / "failure.j2").write_bytes(content if isinstance(content, bytes) else content.encode())
    warnings: list[str] = []
    message = compose(Template.FAILURE, facts(failed()), str(folder), warnings.append)
    assert message.subject.startswith("[sync-runner] photos failed")
    assert "secret" not in message.body
    assert len(warnings) == 1
    assert warnings[0].startswith(
        f"the message template {folder}/failure.j2 is faulty, the built-in one is used: "
    )
    assert said in warnings[0]


def test_messages_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "failure.j2").write_text("{{ 'x' * 10000 }}\n{{ 'y' * 100000 }}")
    message = compose(Template.FAILURE, facts(failed()), str(tmp_path))
    assert (len(message.subject), message.body) == (SUBJECT_AT_MOST, "y" * BODY_AT_MOST + "\n[...]")


def test_validation_of_templates(tmp_path: Path) -> None:
    assert check_templates(None) == []
    assert check_templates(str(tmp_path)) == []
    (tmp_path / "failure.j2").write_text("{{ anything }}")
    (tmp_path / "_part.j2").write_text("part")
    (tmp_path / "notes.txt").write_text("{% nothing of ours")
    assert check_templates(str(tmp_path)) == []
    (tmp_path / "guard.j2").write_text("a\n{% endfor %}")
    (tmp_path / "sucess.j2").write_text("never used")
    assert [fault.render() for fault in check_templates(str(tmp_path))] == [
        f"{tmp_path}/guard.j2:2:1: Encountered unknown tag 'endfor'.",
        f"{tmp_path}/sucess.j2:1:1: no message uses a template of this name\n"
        "  expected: failure.j2, recovery.j2, guard.j2, partial.j2, always.j2, disabled.j2, digest.j2, test.j2",
    ]
    assert [fault.render() for fault in check_templates(str(tmp_path / "gone"))] == [
        f"{tmp_path}/gone:1:1: notifications.templates cannot be read: No such file or directory"
    ]


def test_the_built_in_templates_are_sound() -> None:
    import runner.alerts

    folder = Path(runner.alerts.__file__).parent / "templates"
    assert check_templates(str(folder)) == []
    assert {path.stem for path in folder.glob("[a-z]*.j2")} == set(Template)


def test_every_name_that_templates_see_is_explained() -> None:
    told = facts(failed())
    text = DOCS.read_text("utf-8")
    words = set(re.findall(r"`([^`\n]+)`", text))
    nested = {f"commands.{name}" for name in told["commands"]}
    assert ({*told, *nested} - {"commands"}) - words == set()
    assert {f"{template}.j2" for template in Template} - words == set()
