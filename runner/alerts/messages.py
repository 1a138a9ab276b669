"""Templates -> messages. A template's first line is the subject, the rest the body.

Jinja2 in its immutable sandbox, with strict undefined: a name that does not exist is a fault, and a faulty template
of a user's is replaced by the built-in one, with a warning. Values are plain and safe already (runner.alerts.facts).
"""

from __future__ import annotations

import enum
import importlib.resources
import os
from collections.abc import Callable
from dataclasses import dataclass

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from runner.alerts.facts import Facts
from runner.errors import Diagnostic
from runner.model.wire import display

SUBJECT_AT_MOST = 200
BODY_AT_MOST = 30_000


class Template(enum.StrEnum):
    """Every message there is; a template file is named so, with `.j2`."""

    FAILURE = "failure"
    RECOVERY = "recovery"
    GUARD = "guard"
    PARTIAL = "partial"
    ALWAYS = "always"
    DISABLED = "disabled"
    DIGEST = "digest"
    TEST = "test"


@dataclass(frozen=True)
class Message:
    """What is sent: plain text. The subject is one line."""

    subject: str
    body: str


def compose(
    template: Template, facts: Facts, folder: str | None, warn: Callable[[str], None] = lambda text: None
) -> Message:
    """The message, from the user's template in `folder` where there is a sound one, else from the built-in one."""
    name = f"{template.value}.j2"
    if folder is not None and os.path.exists(os.path.join(folder, name)):
        try:
            return _composed(_environment(folder), name, facts)
        except Exception as error:
            # Whatever a template does wrong (a name, a type, a division): telling matters more than how.
            warn(
                f"the message template {os.path.join(folder, name)} is faulty, the built-in one is used: {_words(error)}"
            )
    return _composed(_environment(None), name, facts)


def check_templates(folder: str | None) -> list[Diagnostic]:
    """What is wrong with the user's templates; empty when they parse, or there are none.

    A `.j2` file that no message uses is told, too, unless its name starts with `_`: those are for include.
    """
    if folder is None:
        return []
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".j2"))
    except OSError as error:
        return [Diagnostic(folder, 1, 1, f"notifications.templates cannot be read: {error.strerror}")]
    environment = _environment(folder)
    faults = []
    for name in names:
        path = os.path.join(folder, name)
        if not name.startswith("_") and name.removesuffix(".j2") not in list(Template):
            known = ", ".join(f"{template}.j2" for template in Template)
            faults.append(Diagnostic(path, 1, 1, "no message uses a template of this name", expected=known))
        try:
            environment.get_template(name)
        except jinja2.TemplateSyntaxError as error:
            faults.append(Diagnostic(path, error.lineno, 1, error.message or "it does not parse"))
        except (jinja2.TemplateError, OSError, UnicodeError) as error:
            faults.append(Diagnostic(path, 1, 1, _words(error)))
    return faults


def _environment(folder: str | None) -> ImmutableSandboxedEnvironment:
    built_in = jinja2.FunctionLoader(_built_in)
    loader: jinja2.BaseLoader = built_in
    if folder is not None:
        loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(folder), built_in])
    return ImmutableSandboxedEnvironment(
        loader=loader,
        # Messages are plain text: Apprise escapes for services that show HTML.
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )


def _built_in(name: str) -> str | None:
    try:
        return (importlib.resources.files("runner.alerts") / "templates" / name).read_text("utf-8")
    except FileNotFoundError:
        return None


def _composed(environment: ImmutableSandboxedEnvironment, name: str, facts: Facts) -> Message:
    text = display(environment.get_template(name).render(facts)).strip("\n")
    subject, _, body = text.partition("\n")
    subject = " ".join(subject.split())
    if not subject:
        raise ValueError("its first line, the subject, is empty")
    body = body.strip("\n") or subject
    if len(body) > BODY_AT_MOST:
        body = body[:BODY_AT_MOST] + "\n[...]"
    return Message(subject[:SUBJECT_AT_MOST], body)


def _words(error: Exception) -> str:
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"line {error.lineno}: {error.message}"
    return str(error) or type(error).__name__
