"""{{ ... }} in values -> text. Jinja2's immutable sandbox with strict undefined, cut down to the needs.

Rendering happens after YAML was parsed, on single values, never on keys: it cannot change the document's
shape. Only names, keys of `env` and `vars`, the secret functions, comparisons, `if` and a few filters are
allowed. There is no loop, assignment, arithmetic or method call, and the source is short: time and memory are
bounded by construction. jinja2 is imported when the first template is met.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingABC
from typing import Any

from runner.config.nodes import (
    Faults,
    Mapping,
    Member,
    Node,
    Scalar,
    Sequence,
    Value,
    close_match,
    quoted,
)  # fmt: skip
from runner.config.secrets import SecretFault, from_credential, from_environment, from_file

SOURCE_LIMIT = 4096
OUTPUT_LIMIT = 64 * 1024
FILTERS = ("default", "lower", "replace", "trim", "upper", "urlencode")
FUNCTIONS = ("credential", "secret_env", "secret_file")
NAMES = ("env", "vars", *FUNCTIONS)

_ALLOWED_NODES = frozenset(
    (
        *("Template", "Output", "TemplateData", "Name", "Const", "Getattr", "Getitem", "Call"),
        *("Filter", "Test", "Concat", "CondExpr", "If", "Compare", "Operand", "And", "Or", "Not"),
    )
)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?")


def render_templates(root: Mapping, environment: MappingABC[str, str], faults: Faults) -> Mapping:
    """The document with every value that holds a template rendered.

    `vars` come first, in their order, and each sees those before it. Scalars that could not be rendered keep
    their source text, and a fault is noted.
    """
    renderer = _Renderer(environment, faults)
    members = dict(root.members)
    variables = members.get("vars")
    if variables is not None and isinstance(variables.node, Mapping):
        rendered: dict[str, Member] = {}
        for name, member in variables.node.members.items():
            node = renderer.render(member.node)
            rendered[name] = Member(member.key, node)
            renderer.variables[name] = node
        members["vars"] = Member(variables.key, variables.node.with_members(rendered))
    for key, member in members.items():
        if key != "vars":
            members[key] = Member(member.key, renderer.render(member.node))
    return root.with_members(members)


def convert(node: Scalar, wanted: frozenset[str]) -> Value:
    """A rendered value as the number or boolean that the schema wants; its text when it is none.

    Only for values that were one expression and nothing else: `workers: "{{ env.WORKERS }}"`.
    """
    text = node.value
    if not node.whole or not isinstance(text, str):
        return text
    if "boolean" in wanted and text in ("true", "false"):
        return text == "true"
    if wanted & {"integer", "number"} and _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    return text


class _TemplateFault(Exception):
    def __init__(self, message: str, expected: str | None = None, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.suggestion = suggestion


class _Names:
    """What `env` and `vars` are inside a template: values by name, nothing else."""

    __slots__ = ("_look_up",)

    def __init__(self, look_up: Callable[[str], str | None]) -> None:
        self._look_up = look_up

    def __getitem__(self, name: str) -> str:
        value = self._look_up(name)
        if value is None:
            raise KeyError(name)
        return value


class _Renderer:
    """Renders one scalar after another. Compiled templates are kept by source text."""

    def __init__(self, environment: MappingABC[str, str], faults: Faults) -> None:
        self.variables: dict[str, Node] = {}
        self._environment = environment
        self._faults = faults
        self._jinja: Any = None
        self._compiled: dict[str, tuple[Any, bool]] = {}
        self._touched_secret = False
        self._missed: tuple[str, str] | None = None

    def render(self, node: Node) -> Node:
        """The same node when nothing in it is a template; else a copy with rendered scalars."""
        if isinstance(node, Scalar):
            if isinstance(node.value, str) and ("{{" in node.value or "{%" in node.value):
                return self._scalar(node, node.value)
            return node
        if isinstance(node, Mapping):
            members = None
            for key, member in node.members.items():
                rendered = self.render(member.node)
                if rendered is not member.node:
                    if members is None:
                        members = dict(node.members)
                    members[key] = Member(member.key, rendered)
            return node if members is None else node.with_members(members)
        children = tuple([self.render(child) for child in node.children])
        if all(new is old for new, old in zip(children, node.children, strict=True)):
            return node
        return Sequence(node.source, node.line, node.column, node.width, children)

    def _scalar(self, node: Scalar, text: str) -> Scalar:
        try:
            value, whole = self._text(text, node.source.directory)
        except (_TemplateFault, SecretFault) as fault:
            self._faults.add(node, fault.message, expected=fault.expected, suggestion=fault.suggestion)
            # The unrendered text will not fit anywhere: no second fault about that.
            self._faults.silence(node)
            value, whole = text, False
        return Scalar(
            node.source, node.line, node.column, node.width, value, False,
            template=text, whole=whole, secret=self._touched_secret,
        )  # fmt: skip

    def _text(self, text: str, directory: str) -> tuple[str, bool]:
        import jinja2

        self._touched_secret = False
        self._missed = None
        template, whole = self._compile(text)
        context = {
            "env": _Names(self._look_up_environment),
            "vars": _Names(self._look_up_variable),
            "secret_file": lambda path: self._secret(from_file(str(path), directory)),
            "secret_env": lambda name: self._secret(from_environment(str(name), self._environment)),
            "credential": lambda name: self._secret(from_credential(str(name), self._environment)),
        }
        try:
            value: str = template.render(context)
        except jinja2.UndefinedError as error:
            raise self._missing(str(error)) from None
        except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError, LookupError) as error:
            # No message of theirs: it may quote a value that is secret.
            raise _TemplateFault(f"the template cannot be rendered ({type(error).__name__})") from None
        if len(value) > OUTPUT_LIMIT:
            raise _TemplateFault(f"the template renders to more than {OUTPUT_LIMIT // 1024} KiB")
        if "\0" in value:
            raise _TemplateFault("the template renders to a text with a NUL character")
        return value, whole

    def _secret(self, value: str) -> str:
        self._touched_secret = True
        return value

    def _look_up_environment(self, name: str) -> str | None:
        self._missed = ("env", name)
        return self._environment.get(name)

    def _look_up_variable(self, name: str) -> str | None:
        self._missed = ("vars", name)
        node = self.variables.get(name)
        if not isinstance(node, Scalar) or node.value is None:
            return None
        if node.secret:
            self._touched_secret = True
        value = node.value
        return ("true" if value else "false") if isinstance(value, bool) else str(value)

    def _missing(self, message: str) -> _TemplateFault:
        if self._missed is None:
            return _TemplateFault(message)
        kind, name = self._missed
        if kind == "env":
            return _TemplateFault(
                f"the environment variable {name} is not set",
                suggestion=close_match(name, self._environment)
                or f"set it, or give a default: {{{{ env.{name} | default('...') }}}}",
            )
        names = list(self.variables)
        return _TemplateFault(
            f"there is no variable {quoted(name)} under vars",
            expected="one of " + ", ".join(names) if names else "a key under vars:",
            suggestion=close_match(name, names),
        )

    def _compile(self, text: str) -> tuple[Any, bool]:
        """The compiled template, and whether it is one expression and nothing else."""
        known = self._compiled.get(text)
        if known is not None:
            return known
        if len(text) > SOURCE_LIMIT:
            raise _TemplateFault(f"a value with a template may have at most {SOURCE_LIMIT} characters")
        import jinja2

        if self._jinja is None:
            self._jinja = _new_environment()
        try:
            tree = self._jinja.parse(text)
            _check(tree)
            # Compiled from the checked tree's own text; constant folding meets no operator that can grow.
            template = self._jinja.from_string(text)
        except jinja2.TemplateSyntaxError as error:
            raise _TemplateFault(f"the template is wrong: {error.message}") from None
        except (RecursionError, MemoryError):
            raise _TemplateFault("the template is nested too deeply") from None
        except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError, LookupError) as error:
            raise _TemplateFault(f"the template is wrong ({type(error).__name__})") from None
        body = tree.body
        nodes = body[0].nodes if len(body) == 1 and hasattr(body[0], "nodes") else []
        whole = len(nodes) == 1 and type(nodes[0]).__name__ != "TemplateData"
        self._compiled[text] = (template, whole)
        return template, whole


def _new_environment() -> Any:
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True, finalize=_finalize
    )
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    environment.filters["replace"] = _replace
    environment.tests = {name: environment.tests[name] for name in ("defined", "undefined")}
    return environment


def _finalize(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        raise _TemplateFault("the template renders to none")
    return value


def _replace(text: str, old: str, new: str) -> str:
    """str.replace with a bound: a chain of them could double the text again and again."""
    text, old, new = str(text), str(old), str(new)
    if not old:
        raise _TemplateFault("replace needs a text to look for")
    if len(text) + text.count(old) * len(new) > OUTPUT_LIMIT:
        raise _TemplateFault(f"the template renders to more than {OUTPUT_LIMIT // 1024} KiB")
    return text.replace(old, new)


def _check(tree: Any) -> None:
    """Refuse every construct that a value does not need. Raises _TemplateFault."""
    pending = [(tree, None)]
    while pending:
        node, parent = pending.pop()
        kind = type(node).__name__
        if kind not in _ALLOWED_NODES:
            raise _TemplateFault(
                f"a template cannot use {_WORDS.get(kind, kind)}",
                expected="env.NAME, vars.name, secret_file(...), secret_env(...), credential(...), "
                "if and the filters " + ", ".join(FILTERS),
            )
        if kind == "Name":
            _check_name(node, parent)
        elif kind == "Call":
            _check_call(node)
        elif kind in ("Getattr", "Getitem"):
            owner = node.node
            constant = kind == "Getattr" or type(node.arg).__name__ == "Const"
            if type(owner).__name__ != "Name" or owner.name not in ("env", "vars") or not constant:
                raise _TemplateFault("a template cannot look into values", expected="env.NAME or vars.name")
        elif kind == "Filter" and node.name not in FILTERS:
            raise _TemplateFault(
                f"there is no filter {quoted(node.name)}",
                expected="one of " + ", ".join(FILTERS),
                suggestion=close_match(node.name, FILTERS),
            )
        pending.extend((child, node) for child in node.iter_child_nodes())


def _check_name(node: Any, parent: Any) -> None:
    if node.name not in NAMES:
        raise _TemplateFault(
            f"{quoted(node.name)} is unknown in a template",
            expected="one of " + ", ".join(NAMES),
            suggestion=close_match(node.name, NAMES) or f"perhaps vars.{node.name} or env.{node.name}",
        )
    if node.name in FUNCTIONS and type(parent).__name__ != "Call":
        raise _TemplateFault(f"{node.name} has to be called", expected=f'{node.name}("...")')
    if node.name not in FUNCTIONS and type(parent).__name__ not in ("Getattr", "Getitem"):
        raise _TemplateFault(f"{node.name} holds many values", expected=f"{node.name}.NAME")


def _check_call(node: Any) -> None:
    plain_call = type(node.node).__name__ == "Name" and node.node.name in FUNCTIONS
    if plain_call and not node.kwargs and not node.dyn_args and not node.dyn_kwargs and len(node.args) == 1:
        return
    raise _TemplateFault(
        "a template can only call secret functions, with one text each",
        expected=", ".join(f'{name}("...")' for name in FUNCTIONS),
    )


_WORDS = {
    "For": "loops", "Assign": "set", "AssignBlock": "set", "Macro": "macros", "Import": "import",
    "FromImport": "import", "Include": "include", "Extends": "extends", "Block": "blocks",
    "Mul": "multiplication", "Pow": "powers", "Add": "addition (use ~ to join texts)", "Sub": "subtraction",
    "Div": "division", "FloorDiv": "division", "Mod": "the % operator", "List": "lists", "Dict": "maps",
    "Tuple": "lists", "Slice": "slices", "FilterBlock": "filter blocks", "With": "with", "CallBlock": "call",
}  # fmt: skip
