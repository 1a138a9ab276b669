"""What the plan refuses is what a request would refuse: no more, no less."""

from __future__ import annotations

import pytest
from runner_plugins.azure_blob.naming import name_rules, require_name

from runner.errors import EntryError


def is_refused_by_request(key: str) -> bool:
    try:
        require_name(key, writing=True)
    except EntryError:
        return True
    return False


@pytest.mark.parametrize("prefix", ["", "p/q/"])
@pytest.mark.parametrize(
    ("what", "name", "refused"),
    [
        ("bytes do not count", "\u65e5" * 1000, False),
        ("characters do", "x" * 1024, True),
        ("those beyond U+FFFF are two", "\U0001f600" * 512, True),
        ("two each, and they fit", "\U0001f600" * 500, False),
        ("levels", "/".join(["d"] * 255), True),
        ("fewer levels", "/".join(["d"] * 250), False),
    ],
)
def test_length_and_depth_are_refused_in_the_plan(prefix: str, what: str, name: str, refused: bool) -> None:
    assert (name_rules(prefix).refusal(name) is not None) is refused, what
    if not refused:
        assert not is_refused_by_request(prefix + name), what


@pytest.mark.parametrize("prefix", ["", "p/q/"])
def test_the_deepest_folder_that_is_planned_has_a_marker_that_is_taken(prefix: str) -> None:
    rules = name_rules(prefix)
    depths = [depth for depth in range(240, 260) if rules.refusal("d/" * depth) is None]
    taken = [depth for depth in range(240, 260) if not is_refused_by_request(f"{prefix}{'d/' * depth}")]
    assert depths == taken
