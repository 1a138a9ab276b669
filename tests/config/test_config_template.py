"""Templates: what they give, what they refuse, and that nothing in them can take long or get out."""

from __future__ import annotations

import pytest
from config_cases import Diagnose, Load, task

HOSTILE = [
    "''.__class__", "env.__class__", "env._look_up", "().__class__.__bases__", "''|attr('__class__')",
    "'%s'|format(env)", "'{0.__class__}'.format(env)", "cycler", "lipsum.__globals__", "namespace()",
    "dict()",
    "range(200000)", "'a' * 10**7", "10**10**10", "9 * 9", "'a' + 'b'", "1 // 0", "7 % 2", "[1] * 9", "{}",
    "env", "vars", "secret_file", "secret_file.x", "secret_file('a', 'b')", "secret_file(*env)",
    "env['a' ~ 'b']",
    "env.X.upper()", "self", "loop", "config", "x", "''|map", "''|list", "1|round", "'a'|center(10**6)",
    "env.X is divisibleby 3", "env.X[0]", "env.X[0:1]", "foo(", "'", "}}", "(" * 400 + "1" + ")" * 400,
    "not " * 900 + "1",
    "'a'" + "|replace('a', 'aaaaaaaaaa')" * 30,
]  # fmt: skip
STATEMENTS = [
    "{% for i in 'abc' %}x{% endfor %}", "{% set a = 1 %}{{ a }}", "{% macro m() %}{% endmacro %}",
    "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% block b %}{% endblock %}",
    "{% filter upper %}{% endfilter %}", "{% with a = 1 %}{% endwith %}", "{% call x() %}{% endcall %}",
    "{% nope %}",
]  # fmt: skip


def described(expression: str) -> str:
    quoted = expression.replace("\\", "\\\\").replace('"', '\\"')
    return task(f'description: "{quoted}"')


@pytest.mark.parametrize("expression", HOSTILE)
def test_hostile_expressions_are_refused_at_the_value(diagnose: Diagnose, expression: str) -> None:
    found = diagnose(described("{{ " + expression + " }}"), {"X": "1"})
    assert [(d.line, d.column) for d in found] == [(9, 18)]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_statements_but_if_are_refused(diagnose: Diagnose, statement: str) -> None:
    assert [(d.line, d.column) for d in diagnose(described(statement))] == [(9, 18)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("{{ env.X }}", "one"),
        ("{{ env['X'] }}!", "one!"),
        ("{{ env.NOPE | default('d') }}", "d"),
        ("{{ env.X | upper | replace('O', '0') }}", "0NE"),
        ("{{ env.X ~ '/' ~ vars.v }}", "one/w"),
        ("{{ 'a' if env.X == 'one' else 'b' }}", "a"),
        ("{% if env.NOPE is defined %}y{% else %}n{% endif %}", "n"),
        ("{{ vars.n }}{{ vars.b }}", "5true"),
        ("{{ vars.second }}", "w+"),
        ("{{ '{{' }} stays", "{{ stays"),
        ("{{ env.X | urlencode }}", "one"),
    ],
)
def test_templates_render(load: Load, expression: str, expected: str) -> None:
    variables = 'vars: {v: w, n: 5, b: true, second: "{{ vars.v }}+"}\n'
    configuration = load(variables + described(expression), {"X": "one"})
    assert configuration.tasks["t"].description == expected


def test_a_missing_variable_is_named_with_a_suggestion(diagnose: Diagnose) -> None:
    (found,) = diagnose(described("{{ env.S3_ULR }}"), {"S3_URL": "x"})
    assert (found.message, found.suggestion) == (
        "the environment variable S3_ULR is not set",
        "did you mean 'S3_URL'?",
    )
    (found,) = diagnose("vars: {site: x}\n" + described("{{ vars.sight }}"))
    assert (found.message, found.expected) == ("there is no variable 'sight' under vars", "one of site")


def test_a_value_cannot_change_the_shape_of_the_document(load: Load) -> None:
    hostile = "x\n    enabled: false\n- {a: [b]}"
    task_read = load(described("{{ env.X }}"), {"X": hostile}).tasks["t"]
    assert (task_read.description, task_read.enabled) == (hostile, True)


def test_a_value_is_rendered_once(load: Load) -> None:
    assert load(described("{{ env.X }}"), {"X": "{{ env.Y }}"}).tasks["t"].description == "{{ env.Y }}"


def test_keys_are_never_rendered(diagnose: Diagnose) -> None:
    found = diagnose(task('"{{ env.X }}": 1'), {"X": "enabled"})
    assert [d.message for d in found] == ["unknown key '{{ env.X }}' in task 't'"]


def test_output_is_capped(diagnose: Diagnose) -> None:
    (found,) = diagnose(described("{{ env.X }}"), {"X": "x" * 70_000})
    assert found.message == "the template renders to more than 64 KiB"


def test_a_whole_template_becomes_the_number_or_boolean_wanted(load: Load) -> None:
    body = 'enabled: "{{ env.E }}"\noptions: {workers: "{{ env.W }}"}\n'
    body += 'guards: {max_deletions: {percent: "{{ env.P }}"}}'
    read = load(task(body), {"E": "false", "W": "7", "P": "2.5"}).tasks["t"]
    assert (read.enabled, read.options.workers, read.guards.max_deletions.percent) == (False, 7, 2.5)


@pytest.mark.parametrize("value", ["seven", "7x", "0x7", "", "1e1"])
def test_a_template_that_is_no_number_is_told_by_its_source(diagnose: Diagnose, value: str) -> None:
    (found,) = diagnose(task('options: {workers: "{{ env.W }}"}'), {"W": value})
    assert found.message == "'{{ env.W }}' does not fit options.workers"


def test_a_part_of_a_text_stays_text(diagnose: Diagnose) -> None:
    (found,) = diagnose(task('options: {workers: "1{{ env.W }}"}'), {"W": "2"})
    assert found.message == "'1{{ env.W }}' does not fit options.workers"


def test_jinja_is_not_imported_without_a_template() -> None:
    import subprocess
    import sys

    code = (
        "import sys, pathlib, tempfile\n"
        "from runner.config.build import load_configuration\n"
        "from runner.locations.registry import Registry\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "(folder / 'sync.yaml').write_text('version: 1\\n')\n"
        "load_configuration(str(folder / 'sync.yaml'), Registry(), {})\n"
        "print(sorted({'jinja2', 'jsonschema', 'rich', 'sqlalchemy'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
