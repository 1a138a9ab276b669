"""Merkle roots as docs/evidence.md promises them, held against another way to work them out."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import EntryCode
from runner.model.action import ActionKind, Finding, Outcome, OutcomeStatus, Verdict
from runner.model.entry import Phase, Problem
from runner.model.execution import Evidence, SideRoot
from runner.model.wire import encode_line
from runner.report import evidence
from runner.report.evidence import Slice, evidence_of, side_roots, stored_roots
from runner.report.merkle import MerkleTree

# Of the certificate transparency project's own tests: eight leaves, and the roots of the first 1 to 8 of them.
LEAVES = (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)  # fmt: skip
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def tree_hash(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def root_of(outcomes: list[Outcome]) -> SideRoot:
    entries = [
        f"{one.kind}\0{one.digest or ''}\0{one.path}\0".encode("utf-8", "surrogateescape") for one in outcomes
    ]
    leaves = [b"".join(entries[at : at + 16]) for at in range(0, len(entries), 16)]
    return SideRoot(tree_hash(leaves).hex(), len(entries))


def outcome(number: int, path: str, status: OutcomeStatus = OutcomeStatus.DONE) -> Outcome:
    problem = None
    if status is OutcomeStatus.FAILED:
        problem = Problem(path, Phase.TRANSFERRING, EntryCode.IO_ERROR, "broken")
    return Outcome(number, ActionKind.COPY, path, status, digest=f"xxh3_128:{number:032x}", problem=problem)


def lines_of(outcomes: list[Outcome]) -> bytes:
    return b"".join(encode_line(one) + b"\n" for one in outcomes)


@pytest.mark.parametrize("count", range(1, 9))
def test_the_tree_is_that_of_rfc_6962(count: int) -> None:
    tree = MerkleTree()
    for leaf in LEAVES[:count]:
        tree.add(bytes.fromhex(leaf))
    assert tree.root().hex() == ROOTS[count - 1]


@given(st.integers(0, 70), st.integers(0, 70))
def test_a_tree_goes_on_from_a_copy_and_holds_few_hashes(count: int, more: int) -> None:
    leaves = [str(number).encode() for number in range(count + more)]
    tree = MerkleTree()
    for leaf in leaves[:count]:
        tree.add(leaf)
    copy = tree.copy()
    for leaf in leaves[count:]:
        copy.add(leaf)
    assert (tree.root(), copy.root()) == (tree_hash(leaves[:count]), tree_hash(leaves))
    assert len(copy._whole) == (count + more).bit_count()


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 32, 100])
def test_both_roots_are_one_when_all_was_done(count: int) -> None:
    outcomes = [outcome(number, f"a/{number}") for number in range(count)]
    pieces = [lines_of(outcomes[at : at + 7]) for at in range(0, count, 7)]
    assert side_roots(pieces, ()) == (root_of(outcomes), root_of(outcomes))


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=6).map(
                lambda text: os.fsdecode(text.encode("utf-8", "replace"))
            ),
            st.sampled_from(OutcomeStatus),
            st.booleans(),
        ),
        max_size=60,
    ),
    st.integers(1, 20),
)
def test_the_destination_holds_what_was_done_and_not_objected_to(
    rows: list[tuple[str, OutcomeStatus, bool]], size: int
) -> None:
    paths = [path + ("\udcff" if number % 9 == 0 else "") for number, (path, _, _) in enumerate(rows)]
    outcomes = [outcome(number, path, rows[number][1]) for number, path in enumerate(paths)]
    objected = {path for path, (_, _, wrong) in zip(paths, rows, strict=True) if wrong}
    confirmed = [one for one in outcomes if one.status is OutcomeStatus.DONE and one.path not in objected]
    pieces = [lines_of(outcomes[at : at + size]) for at in range(0, len(outcomes), size)]
    assert side_roots(pieces, objected) == (root_of(outcomes), root_of(confirmed))


def test_a_journal_in_any_order_has_the_roots_of_its_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches end in any order; the roots go by the actions' ids, whether or not somebody kept an index."""
    monkeypatch.setattr(evidence, "PIECE_BYTES", 2000)
    outcomes = [outcome(number, f"folder/file {number}\udcfe") for number in range(200)]
    outcomes[77] = outcome(77, outcomes[77].path, OutcomeStatus.FAILED)
    finding = Finding(outcomes[150].path, Verdict.CHECKSUM_FAILURE)
    content, slices = b"", []
    for first in (50, 150, 0, 100):
        batch = lines_of(outcomes[first : first + 50])
        slices.append(Slice(first, len(content), len(batch)))
        content += batch
    (tmp_path / "outcomes.jsonl").write_bytes(content)
    (tmp_path / "findings.jsonl").write_bytes(encode_line(finding) + b"\n")
    expected = root_of(outcomes), root_of([*outcomes[:77], *outcomes[78:150], *outcomes[151:]])
    assert stored_roots(str(tmp_path), [finding]) == expected
    assert evidence_of(str(tmp_path), slices, [finding]) == Evidence(
        *expected,
        files={
            name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
            for name in ("outcomes.jsonl", "findings.jsonl")
        },
    )


def test_without_a_transfer_there_are_digests_and_no_roots(tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").touch()
    assert evidence_of(str(tmp_path), None, []) == Evidence(files={"problems.jsonl": EMPTY})


def test_a_damaged_journal_is_no_root(tmp_path: Path) -> None:
    (tmp_path / "outcomes.jsonl").write_text('{"action_id": 1}\n{"torn')
    with pytest.raises((msgspec.MsgspecError, ValueError)):
        stored_roots(str(tmp_path), [])
