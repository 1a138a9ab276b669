"""The plan file: what is written comes back, the same state gives the same bytes, and nothing damaged is read."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from runner.errors import EntryCode, PlanFileError
from runner.model.action import Action, ActionKind, Stage
from runner.model.difference import Reason
from runner.model.entry import Attributes, Entry, Kind, Phase, Problem
from runner.model.execution import Counters, Counts, EndpointSummary, GuardVerdict
from runner.model.plan import ActionTotals, PlanHeader, PlanTrailer
from runner.model.wire import to_json_value
from runner.plan import file as plan_file
from runner.plan.file import PlanReader, PlanWriter, write_plan_file
from runner.plan.preview import previewed

GOLDEN = os.path.join(os.path.dirname(__file__), "golden_plan.jsonl")
HEADER = PlanHeader(
    task="t",
    config_digest="c" * 64,
    filter_digest="f" * 64,
    source=EndpointSummary("src", "memory", "memory:left", "tree l"),
    destination=EndpointSummary("dst", "memory", "memory:right"),
    options={"overwrite_mode": "always", "names": ["é"]},
)
TRAILER = PlanTrailer(
    actions=0,
    stages=(0, 2, 1, 1, 1),
    totals=ActionTotals(folders_to_create=0, to_copy=2, to_link=1, to_delete=1, folders_to_restore_times=1),
    counters=Counters(listed=Counts(3, 2), prepared=Counts(3, 0)),
    complete=True,
    problems=(Problem("bad\udcff", Phase.PREPARING, EntryCode.PERMISSION_DENIED, "closed", side="source"),),
    problems_total=1,
    guards=(GuardVerdict("wide_root", "it is /", "sync-runner run t --accept wide_root"),),
    losses=("hard links become separate files",),
    destination_entries=Counts(4, 1),
    destination_bytes=9,
)
FILE = Entry(
    "a/b",
    Kind.FILE,
    size_bytes=3,
    mtime_ns=1_700_000_000_123_456_789,
    version="1.0",
    attributes=Attributes(mode=0o644, uid=0, xattrs=(("user.k", b"\x00\xff"),)),
    link_group="g",
)
ACTIONS = [
    Action(0, ActionKind.DELETE, Stage.REMOVE, "z\n", None, Entry("z\n", Kind.FILE, 7), (Reason.EXTRA,), 7),
    Action(0, ActionKind.COPY, Stage.WRITE, "a/b", FILE, None, (Reason.MISSING,), 3),
    Action(
        0,
        ActionKind.SET_ATTRIBUTES,
        Stage.FINISH_FOLDERS,
        "a/",
        Entry("a/", Kind.DIRECTORY, mtime_ns=5),
        Entry("a/", Kind.DIRECTORY, mtime_ns=5),
        (Reason.CONTENTS,),
    ),
    Action(
        0,
        ActionKind.COPY,
        Stage.WRITE,
        "a/\udcff",
        Entry("a/\udcff", Kind.SYMLINK, link_target="\udcfe"),
        None,
        (Reason.MISSING,),
    ),
    Action(
        0,
        ActionKind.LINK,
        Stage.LINK,
        "a/c",
        msgspec.structs.replace(FILE, path="a/c"),
        None,
        (Reason.MISSING,),
        link_to="a/b",
    ),
]
IN_ORDER = [
    msgspec.structs.replace(action, id=number)
    for number, action in enumerate(sorted(ACTIONS, key=lambda action: action.stage), 1)
]


def written(path: str | Path, actions: list[Action] | None = None) -> PlanTrailer:
    with contextlib.closing(PlanWriter()) as writer:
        for action in ACTIONS if actions is None else actions:
            writer.add(action)
        return write_plan_file(str(path), writer, HEADER, TRAILER)


@pytest.mark.parametrize("name", ["plan.jsonl", "plan.jsonl.gz"])
def test_what_is_written_comes_back(tmp_path: Path, name: str) -> None:
    trailer = written(tmp_path / name)
    reader = PlanReader(str(tmp_path / name))
    assert list(reader.actions()) == IN_ORDER
    assert reader.header == HEADER
    assert reader.trailer == trailer
    assert trailer == msgspec.structs.replace(TRAILER, actions=5, digest=trailer.digest)
    assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600
    reader.copy_to(str(tmp_path / "copy"))
    assert list(PlanReader(str(tmp_path / "copy")).actions()) == IN_ORDER
    assert set(os.listdir(tmp_path)) == {name, "copy"}


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.gz", "other.gz", "one", "other"):
        written(tmp_path / name)
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "other.gz").read_bytes()
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_the_file_is_the_golden_one(tmp_path: Path) -> None:
    """After a change of the format: raise PLAN_VERSION, then copy what this writes over the golden file."""
    written(tmp_path / "plan")
    assert (tmp_path / "plan").read_bytes() == Path(GOLDEN).read_bytes()


def test_an_empty_plan_is_a_plan(tmp_path: Path) -> None:
    assert written(tmp_path / "plan", []).actions == 0
    assert list(PlanReader(str(tmp_path / "plan")).actions()) == []


def test_actions_beyond_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_file, "SPOOL_BYTES", 1000)
    many = [
        msgspec.structs.replace(action, path=f"{action.path}{n}") for n in range(3000) for action in ACTIONS
    ]
    written(tmp_path / "plan", many)
    found = list(PlanReader(str(tmp_path / "plan")).actions())
    assert [action.id for action in found] == list(range(1, 15_001))
    assert [action.path for action in found] == [
        action.path for action in sorted(many, key=lambda action: action.stage)
    ]


def test_withholding_drops_some_kinds_of_a_stage(tmp_path: Path) -> None:
    making = Action(0, ActionKind.CREATE_DIRECTORY, Stage.MAKE_WAY, "m/", None, None, (Reason.KIND,))
    deleting = Action(0, ActionKind.DELETE, Stage.MAKE_WAY, "d", None, None, (Reason.EXTRA,))
    with contextlib.closing(PlanWriter()) as writer:
        for action in (deleting, making, deleting, *ACTIONS):
            writer.add(action)
        writer.withhold(Stage.MAKE_WAY, frozenset({ActionKind.DELETE}))
        writer.withhold(Stage.REMOVE, frozenset({ActionKind.DELETE}))
        assert writer.counts == (1, 2, 1, 0, 1)
        write_plan_file(str(tmp_path / "plan"), writer, HEADER, TRAILER)
    kinds = [action.kind.value for action in PlanReader(str(tmp_path / "plan")).actions()]
    assert kinds == ["create_directory", "copy", "copy", "link", "set_attributes"]


def _replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def damage(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new, 1)

    return damage


DAMAGES: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("empty", lambda content: b"", "not a whole plan file"),
    ("no JSON", lambda content: b"hello\n", "not a whole plan file"),
    ("other JSON", lambda content: b'{"a":1}\n', "is not a plan file"),
    ("a list", lambda content: b"[1]\n", "not a whole plan file"),
    ("no UTF-8", lambda content: b"\xff\xfe\n", "not a whole plan file"),
    ("cut in an action", lambda content: content[: len(content) // 3], "not a whole plan file"),
    ("trailer missing", lambda content: b"".join(content.splitlines(True)[:-1]), "not a whole plan file"),
    ("cut in the trailer", lambda content: content[:-10], "not a whole plan file"),
    ("an action edited", _replaced(b'"size_bytes":3', b'"size_bytes":4'), "was changed after it was made"),
    ("an action removed", lambda content: b"".join(
        line for line in content.splitlines(True) if not line.startswith(b'{"id":2,')
    ), "was changed after it was made"),
    ("the header edited", _replaced(b'"task":"t"', b'"task":"u"'), "was changed after it was made"),
    ("a guard accepted by hand", _replaced(b'"accepted":false', b'"accepted":true'), "was changed after it was made"),
    ("totals edited", _replaced(b'"to_delete":1', b'"to_delete":0'), "was changed after it was made"),
    ("digest edited", lambda content: content[:-10] + b"0000000" + content[-3:], "was changed after it was made"),
    ("something after the end", lambda content: content + b"\n", "not a whole plan file"),
    ("a later version", _replaced(b'"version":1', b'"version":2'), "has plan format 2; this version reads 1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "message"), [case[1:] for case in DAMAGES], ids=[case[0] for case in DAMAGES]
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    path = tmp_path / "plan.jsonl"
    written(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(PlanFileError) as refusal:
        PlanReader(str(path))
    assert message in refusal.value.message
    assert str(path) in refusal.value.message
    assert refusal.value.remedy == f"Make a new plan: sync-runner plan TASK -o {path}"


@pytest.mark.parametrize("damage", ["cut", "flipped", "plain"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "plan.jsonl.gz"
    written(path)
    packed = path.read_bytes()
    middle = len(packed) // 2
    broken = {
        "cut": packed[:middle],
        "flipped": packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :],
        "plain": gzip.decompress(packed),
    }
    path.write_bytes(broken[damage])
    with pytest.raises(PlanFileError):
        PlanReader(str(path))


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    written(path)
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(PlanFileError):
            PlanReader(str(path))


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(PlanFileError) as refusal:
        PlanReader(str(tmp_path / "none"))
    assert "No such file" in refusal.value.message
    assert refusal.value.remedy == f"Make one: sync-runner plan TASK -o {tmp_path / 'none'}"


@pytest.mark.parametrize("name", ["no-folder/plan", "taken"])
def test_a_file_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "taken" / "x").mkdir(parents=True)
    with pytest.raises(PlanFileError) as refusal:
        written(tmp_path / name)
    assert f"cannot write the plan file {tmp_path / name}" in refusal.value.message
    assert os.listdir(tmp_path) == ["taken"]


def test_the_digest_is_of_all_bytes_before_it(tmp_path: Path) -> None:
    digest = written(tmp_path / "plan").digest
    content = (tmp_path / "plan").read_bytes()
    assert hashlib.sha256(content[: content.index(digest.encode())]).hexdigest() == digest


def test_a_preview_shows_the_first_and_the_largest(tmp_path: Path) -> None:
    written(tmp_path / "plan")
    summary = previewed(PlanReader(str(tmp_path / "plan")))
    assert [action.path for action in summary.largest] == ["z\n", "a/b"]
    assert [action.path for action in summary.first] == ["a/b", "a/\udcff", "a/c", "z\n"]
    assert summary.file == str(tmp_path / "plan")
    assert to_json_value(summary.header) == to_json_value(HEADER)
