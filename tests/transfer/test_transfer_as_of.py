"""What stood at a moment that is past: the oldest of what was moved aside since, unless something was written before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model.action import ActionKind
from runner.transfer.as_of import Aside, Written, stood

FIRST, SECOND, THIRD = "65000000abcd", "65000001abcd", "65000002abcd"
COPY, REPLACE, MADE = ActionKind.COPY, ActionKind.REPLACE, ActionKind.CREATE_DIRECTORY


def asides(*found: str) -> list[Aside]:
    """'1 d/x' was moved aside by the first execution."""
    return [Aside((FIRST, SECOND, THIRD)[int(one[0]) - 1], one[2:]) for one in found]


@pytest.mark.parametrize(
    ("aside", "written", "back", "replaced"),
    [
        pytest.param(["1 a"], {}, ["1 a"], [], id="moved aside once"),
        pytest.param(["1 a", "2 a", "3 a"], {}, ["1 a"], [], id="the oldest of three"),
        pytest.param(["2 a"], {"a": Written(FIRST, COPY)}, [], [], id="made after the moment"),
        pytest.param(["1 a", "3 a"], {"a": Written(SECOND, COPY)}, ["1 a"], [], id="made again later"),
        pytest.param(
            ["2 a"], {"a": Written(FIRST, REPLACE)}, [], ["2 a"], id="replaced before it was moved aside"
        ),
        pytest.param(
            ["1 a"], {"a": Written(FIRST, COPY)}, ["1 a"], [], id="one execution moves aside, then writes"
        ),
        pytest.param(
            ["1 d/", "1 d/x", "2 d/", "2 d/y"],
            {},
            ["1 d/", "1 d/x", "2 d/y"],
            [],
            id="a folder once, what was in it from two",
        ),
        pytest.param(
            ["2 d/", "2 d/x"],
            {"d": Written(FIRST, MADE), "d/x": Written(FIRST, COPY)},
            [],
            [],
            id="a folder made after the moment",
        ),
        pytest.param(["1 a", "2 a/", "2 a/x"], {}, ["1 a"], [], id="a file, in whose place came a folder"),
        pytest.param(
            ["1 a/", "1 a/x", "2 a"], {}, ["1 a/", "1 a/x"], [], id="a folder, in whose place came a file"
        ),
        pytest.param(["1 a/x", "2 a"], {}, ["1 a/x"], [], id="the same where folders are not listed"),
        pytest.param(
            ["2 a", "3 a/x"], {"a": Written(FIRST, REPLACE)}, [], ["2 a"], id="nothing below what was a file"
        ),
        pytest.param([], {"a": Written(FIRST, COPY)}, [], [], id="nothing was moved aside"),
    ],
)
def test_what_stood(
    aside: list[str], written: dict[str, Written], back: list[str], replaced: list[str]
) -> None:
    standing = stood(asides(*aside), written)
    assert standing == (tuple(asides(*back)), tuple(asides(*replaced)))


STEPS = st.sampled_from(["keep", "write", "remove"])


@given(
    history=st.lists(st.dictionaries(st.sampled_from("abc"), STEPS), min_size=1, max_size=8),
    moment=st.integers(0, 8),
)
def test_against_a_destination_that_remembers_everything(history: list[dict[str, str]], moment: int) -> None:
    """`states[n]` is what stood there before execution n: by whom each content was written."""
    states: list[dict[str, int]] = [{}]
    left: list[tuple[int, str, int]] = []  # who moved aside what, and who had written that
    writes: list[tuple[int, str, ActionKind]] = []
    for number, steps in enumerate(history):
        now = dict(states[-1])
        for path, step in sorted(steps.items()):
            if step == "write":
                writes.append((number, path, REPLACE if path in now else COPY))
                now[path] = number
            elif step == "remove" and path in now:
                left.append((number, path, now.pop(path)))
        states.append(now)
    moment = min(moment, len(history))
    written: dict[str, Written] = {}
    for number, path, kind in writes:
        if number >= moment:
            written.setdefault(path, Written(f"{number:012x}", kind))
    standing = stood([Aside(f"{number:012x}", path) for number, path, _ in left if number >= moment], written)
    then = states[moment]
    content = {(f"{number:012x}", path): by for number, path, by in left}
    in_quarantine = {(path, by) for number, path, by in left if number >= moment}
    assert {one.path: content[one] for one in standing.back} == {
        path: by for path, by in then.items() if (path, by) in in_quarantine
    }
    assert {one.path for one in standing.replaced} == {
        path
        for path, by in then.items()
        if (path, by) not in in_quarantine and any(path == other for other, _ in in_quarantine)
    }
