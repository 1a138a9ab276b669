"""Run by a test in a process of its own: copies a small tree to a location and back, and reports how that went.

Reads from standard input: {"folder": ..., "location": {options with type}}, where {"secret": VALUE} is a secret.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from runner.model.task import Secret


def revealed(value: Any) -> Any:
    """Options as a driver gets them."""
    if isinstance(value, dict):
        if set(value) == {"secret"}:
            return Secret(value["secret"], "test")
        return {name: revealed(one) for name, one in value.items()}
    return value


if __name__ == "__main__":
    # This file is run as a script: what it shares with the tests lies beside its folder.
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from servers.real_pair import RealPair, local

    order = json.load(sys.stdin)
    folder = Path(order["folder"])
    location = revealed(order["location"])
    source, back = folder / "source", folder / "back"
    (source / "a").mkdir(parents=True)
    for number in range(12):
        (source / "a" / f"file {number}").write_bytes(b"content %d" % number)
    exits = []
    for name, left, right in (("there", local(source), location), ("home", location, local(back))):
        (folder / name).mkdir()
        pair = RealPair(folder / name, left, right)
        exits += [pair.run().execution.exit_code, len(pair.second_plan())]
    # What is gone is removed, too.
    (source / "a" / "file 3").unlink()
    exits.append(RealPair(folder / "there", local(source), location).run().execution.exit_code)
    json.dump(exits, sys.stdout)
