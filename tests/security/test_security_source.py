"""What no line of this program may do: make code of data, start a shell, trust a name that can be guessed.

The sources are read as syntax trees, so that a comment is no finding and an alias is no way round.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("runner", "plugins", "schemas", "benchmarks", "examples", "packaging", "locks")

CODE_FROM_DATA = (
    *(
        "pickle",
        "_pickle",
        "cPickle",
        "cloudpickle",
        "dill",
        "joblib",
        "jsonpickle",
        "marshal",
        "shelve",
        "copyreg",
    ),
    *("code", "codeop", "runpy", "imp", "pty", "telnetlib", "xmlrpc", "cgi"),
)
"""Modules that turn bytes into objects or code, or speak a protocol that does."""

CALLS = {
    "eval": "makes code of data",
    "exec": "makes code of data",
    "compile": "makes code of data",
    "__import__": "imports by a name from data: importlib.import_module is seen",
    "os.system": "starts a shell",
    "os.popen": "starts a shell",
    "os.spawnl": "starts programs past subprocess",
    "os.tempnam": "a name that can be guessed",
    "os.tmpnam": "a name that can be guessed",
    "tempfile.mktemp": "a name that can be guessed",
    "subprocess.getoutput": "starts a shell",
    "subprocess.getstatusoutput": "starts a shell",
    "asyncio.create_subprocess_shell": "starts a shell",
    "yaml.load": "may construct objects",
    "yaml.load_all": "may construct objects",
    "yaml.full_load": "may construct objects",
    "yaml.unsafe_load": "constructs objects",
    "yaml.safe_load": "has no limits: runner.config.load has",
    "ssl._create_unverified_context": "checks no certificate",
    "random.random": "can be guessed",
    "random.randint": "can be guessed",
    "random.choice": "can be guessed",
    "jinja2.Template": "is not sandboxed",
    "logging.config.dictConfig": "makes objects of data",
    "logging.config.fileConfig": "makes code of data",
}
KNOWN = {
    # Benchmarks make their trees from a seed, on purpose.
    ("benchmarks", "random"),
}


class Finding(str):
    """path:line: what."""


def findings(tree: ast.AST, where: str) -> Iterator[Finding]:
    names: dict[str, str] = {}
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                yield from _import(alias.name, node, where)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from _import(node.module or "", node, where)
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        called = _dotted(node.func, names)
        if called in CALLS:
            yield Finding(f"{where}:{node.lineno}: {called} {CALLS[called]}")
        if called == "importlib.import_module" and node.args and isinstance(node.args[0], ast.Constant):
            yield from _import(str(node.args[0].value), node, where)
        for keyword in node.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if keyword.arg == "shell" and value is not False:
                yield Finding(f"{where}:{node.lineno}: shell={ast.unparse(keyword.value)}")
            if (
                keyword.arg in ("verify", "verify_mode", "check_hostname", "assert_hostname")
                and value is False
            ):
                yield Finding(f"{where}:{node.lineno}: {keyword.arg}=False")
        started = called is not None and called.startswith(
            ("subprocess.", "os.exec", "os.posix_spawn", "os.spawn")
        )
        if (
            started
            and node.args
            and isinstance(node.args[0], (ast.JoinedStr, ast.BinOp))
            and called.startswith("subprocess.")
        ):
            yield Finding(f"{where}:{node.lineno}: a program and its arguments in one text")
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in ("CERT_NONE", "WarningPolicy", "AutoAddPolicy"):
            yield Finding(f"{where}:{node.lineno}: {node.attr} trusts anybody")


def _import(name: str, node: ast.stmt | ast.expr, where: str) -> Iterator[Finding]:
    if name.split(".")[0] in CODE_FROM_DATA:
        yield Finding(f"{where}:{node.lineno}: import of {name}")


def _dotted(node: ast.expr, names: dict[str, str]) -> str | None:
    """`a.b.c` with the first name as it was imported."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, names)
        return None if owner is None else f"{owner}.{node.attr}"
    return None


def sources() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


WORDS = re.compile(
    r"\b(?:"
    + "|".join(
        {name.rpartition(".")[2] for name in CALLS}
        | set(CODE_FROM_DATA)
        | {"import_module", "apscheduler", "subprocess", "shell", "exec\\w*", "spawn\\w*", "posix_spawn\\w*"}
        | {"verify", "verify_mode", "check_hostname", "assert_hostname"}
        | {"CERT_NONE", "WarningPolicy", "AutoAddPolicy"}
    )
    + r")\b"
)
"""Without one of them there is nothing to find: no way round an alias has to be known by its name once."""


@functools.cache
def trees() -> dict[str, ast.Module]:
    """The sources that hold a word of these; reading the others as trees would take seconds."""
    texts = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sources()}
    return {where: ast.parse(text) for where, text in texts.items() if WORDS.search(text)}


def test_the_sources_are_found() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in sources()}
    assert found >= {"runner", "plugins", "benchmarks"}
    assert len(sources()) > 300


def test_no_source_makes_code_of_data_or_starts_a_shell() -> None:
    found = []
    for where, tree in trees().items():
        for finding in findings(tree, where):
            if not any(where.startswith(folder) and word in finding for folder, word in KNOWN):
                found.append(finding)
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads as harmless",
        "import importlib; importlib.import_module('marshal')",
        "from importlib import import_module as load; load('dill')",
        "import shelve as store",
        "eval(text)",
        "exec(text)",
        "compile(text, '', 'exec')",
        "import os as o; o.system('ls')",
        "from os import popen; popen('ls')",
        "import subprocess; subprocess.run('ls', shell=True)",
        "import subprocess; subprocess.run(line, shell=wanted)",
        "from subprocess import Popen as P; P(f'ls {x}')",
        "import subprocess as s; s.check_output('ls ' + x)",
        "import yaml; yaml.load(text)",
        "from yaml import safe_load as read; read(text)",
        "import tempfile; tempfile.mktemp()",
        "from tempfile import mktemp; mktemp()",
        "import ssl; context.verify_mode = ssl.CERT_NONE",
        "import requests; requests.get(url, verify=False)",
        "import random; random.choice(letters)",
        "from jinja2 import Template; Template(text)",
    ],
)
def test_each_of_them_would_be_seen(line: str) -> None:
    assert WORDS.search(line)
    assert list(findings(ast.parse(line), "planted.py")) != []


@pytest.mark.parametrize(
    "line",
    [
        "import re; re.compile(text)",
        "# pickle.loads(text)",
        "'eval(text)'",
        "import subprocess; subprocess.run(['ls', name], shell=False)",
        "import tempfile; tempfile.mkstemp()",
        "evaluate(text)",
        "self.exec(text)",
    ],
)
def test_what_is_harmless_is_left_alone(line: str) -> None:
    assert list(findings(ast.parse(line), "harmless.py")) == []


def test_imports_by_name_take_names_from_declarations_only() -> None:
    """Where a module is imported by a name that no constant gives, it is one of these places, each for a reason."""
    places = set()
    for where, tree in trees().items():
        for node in ast.walk(tree):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.endswith("import_module") and not isinstance(node.args[0], ast.Constant):  # type: ignore[attr-defined]
                places.add(where)
    assert places == {
        "runner/cli/main.py",  # a command's handler: runner/cli/commands.py
        "runner/history/migrate.py",  # a migration of ours, by its number
        "runner/locations/discovery.py",  # an installed package's entry point
    }


def test_the_scheduler_keeps_nothing_but_names_in_memory() -> None:
    """APScheduler's stores in databases pickle, and run what somebody else wrote into them."""
    imported = set()
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("apscheduler"):
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names if alias.name.startswith("apscheduler")}
    assert imported
    assert {name for name in imported if "jobstores" in name} == {
        "apscheduler.jobstores.memory.MemoryJobStore"
    }
