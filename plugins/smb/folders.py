"""Paths on the share: finding what stands at one, spelled exactly so, and making folders.

SMB takes names in any case, and a server may follow junctions on the way. So every folder of a path is looked up by
name in its own parent before it is used: it must be spelled as the path says, and be a plain folder. What was
looked up is remembered for this object.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.model.entry import leaf_name, parent_path

from . import faults, messages
from .client import Client
from .facts import is_plain
from .faults import stale
from .messages import Facts, Request
from .names import check_path, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .wire import Answer, Wire

_REMEMBERED = 20_000
_LOOK_UP_BYTES = 8_192
_LIST_ACCESS = messages.READ_DATA | messages.READ_ATTRIBUTES
_MAKE_ACCESS = messages.READ_ATTRIBUTES


class Folders:
    """The root and what is below it. `create`: a missing root is made when something is written."""

    def __init__(self, client: Client, *, create: bool) -> None:
        self._client = client
        self._create = create
        self._known: OrderedDict[str, None] = OrderedDict()
        self._has_root = False

    # -- the root --------------------------------------------------------------------------------------------

    def name(self, path: str) -> str:
        """A path as it is spelled on the share. Raises NAME_NOT_ALLOWED for what would lead elsewhere."""
        names = check_path(path)
        root = self._client.options.root
        return "\\".join([root, *names] if root else names)

    def name_below(self, path: str, leaf: str) -> str:
        """The same for a name of ours in the folder that holds `path`."""
        parent = self.name(parent_path(path))
        return f"{parent}\\{leaf}" if parent else leaf

    def root_facts(self, wire: Wire) -> Facts | None:
        """The root as it is; None while it is missing and may be made. Raises StatusError,
        LocationUnavailableError."""
        first, last = wire.ask(
            messages.create(
                self._client.options.root,
                messages.READ_ATTRIBUTES,
                messages.SHARE_ALL,
                messages.OPEN,
                messages.DIRECTORY_FILE,
            ),
            messages.close(),
        )
        if first.status in faults.GONE:
            if first.status == faults.NOT_A_DIRECTORY:
                raise LocationUnavailableError(f"{self._client.options.address} is no folder")
            if self._has_root or not self._create:
                raise LocationUnavailableError(
                    f"{self._client.options.address}: there is no such folder on the share",
                    remedy="Check the option path, or make the folder.",
                )
            return None
        opened = messages.opened(first.require(), "")
        _tidy(wire, opened.file, last)
        self._has_root = True
        return opened.facts

    def make_root(self, wire: Wire) -> None:
        """Make the root and its missing parents."""
        if self._has_root:
            return
        if self._create and self._client.options.root:
            name = ""
            for part in self._client.options.root.split("\\"):
                name = f"{name}\\{part}" if name else part
                first, last = wire.ask(
                    messages.create(
                        name,
                        _MAKE_ACCESS,
                        messages.SHARE_ALL,
                        messages.OPEN_OR_MAKE,
                        messages.DIRECTORY_FILE,
                        file_id=False,
                    ),
                    messages.close(),
                )
                _tidy(wire, messages.opened(first.require(), name).file, last)
        self._has_root = True

    # -- looking up ------------------------------------------------------------------------------------------

    def look_up(self, wire: Wire, path: str) -> Facts | None:
        """What stands at `path`, spelled exactly so (a folder's path may lack its slash); None when nothing does.

        Raises StatusError for anything but absence.
        """
        pending = [(folder, self.begin_look_up(wire, folder)) for folder in self._unknown(parent_path(path))]
        last = self.begin_look_up(wire, path)
        for number, (folder, ids) in enumerate(pending):
            facts = self.finish_look_up(wire, folder, ids)
            if facts is None or not facts.is_directory or not is_plain(facts):
                for _, left in pending[number + 1 :]:
                    wire.abandon(left)
                self._drop(wire, last)
                return None
            self.remember(folder)
        return self.finish_look_up(wire, path, last)

    def begin_look_up(self, wire: Wire, path: str) -> list[int]:
        """Ask for what stands at `path` in its parent; the parent is taken as it is."""
        return wire.begin(self._look_up_requests(path))

    def finish_look_up(self, wire: Wire, path: str, ids: Sequence[int]) -> Facts | None:
        return self._found(wire, leaf_name(path), wire.finish(ids))

    def _look_up_requests(self, path: str) -> list[Request]:
        parent = self.name(parent_path(path))
        return [
            messages.create(
                parent,
                _LIST_ACCESS,
                messages.SHARE_ALL,
                messages.OPEN,
                messages.DIRECTORY_FILE,
                file_id=False,
            ),
            messages.query_directory(leaf_name(path), _LOOK_UP_BYTES),
            messages.close(),
        ]

    def _found(self, wire: Wire, leaf: str, answers: Sequence[Answer]) -> Facts | None:
        first, second, last = answers
        if first.status in faults.GONE:
            return None
        _tidy(wire, messages.opened(first.require(), "").file, last)
        if second.status in (faults.NO_MORE_FILES, *faults.GONE):
            return None
        for facts in messages.listed(messages.information(second.require())):
            if facts.name == leaf:
                return facts
        return None

    def _drop(self, wire: Wire, ids: Sequence[int]) -> None:
        wire.abandon(ids)

    def require(self, wire: Wire, folder: str) -> None:
        """Make sure that `folder` ("" or with a slash) is there, spelled so, and no link. Raises NOT_FOUND or
        STALE."""
        unknown = self._unknown(folder)
        if not unknown:
            return
        pending = [(one, self.begin_look_up(wire, one)) for one in unknown]
        answers = [(one, self.finish_look_up(wire, one, ids)) for one, ids in pending]
        for one, facts in answers:
            if facts is None:
                raise EntryError(EntryCode.NOT_FOUND, folder, f"the folder {shown(one)} is not there")
            _require_plain_folder(one, facts)
            self.remember(one)

    def make(self, wire: Wire, folder: str) -> None:
        """As `require`, but what is missing is made."""
        self.make_root(wire)
        for one in self._unknown(folder):
            facts = self.finish_look_up(wire, one, self.begin_look_up(wire, one))
            if facts is None:
                if self.make_one(wire, one):
                    self.remember(one)
                    continue
                facts = self.finish_look_up(wire, one, self.begin_look_up(wire, one))
                if facts is None:
                    raise stale(one, "a folder of this name, spelled in other case, stands there already")
            _require_plain_folder(one, facts)
            self.remember(one)

    def make_one(self, wire: Wire, folder: str) -> bool:
        """Make a folder whose parent is there; False when something has its name, maybe in another spelling."""
        first, last = wire.ask(
            messages.create(
                self.name(folder),
                _MAKE_ACCESS,
                messages.SHARE_ALL,
                messages.MAKE,
                messages.DIRECTORY_FILE | messages.OPEN_REPARSE_POINT,
                file_id=False,
            ),
            messages.close(),
        )
        if first.status == faults.NAME_COLLISION:
            return False
        _tidy(wire, messages.opened(first.require(), folder).file, last)
        return True

    # -- what is known ---------------------------------------------------------------------------------------

    def remember(self, folder: str) -> None:
        """`folder` was seen, spelled so."""
        self._known[folder] = None
        self._known.move_to_end(folder)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def forget(self, folder: str) -> None:
        """`folder` goes away, and all below it."""
        for one in [known for known in self._known if known.startswith(folder)]:
            del self._known[one]

    def _unknown(self, folder: str) -> list[str]:
        """The folders on the way to `folder`, itself included, that were not looked up yet; outermost first."""
        unknown = []
        while folder and folder not in self._known:
            unknown.append(folder)
            folder = parent_path(folder)
        return unknown[::-1]


def _require_plain_folder(folder: str, facts: Facts) -> None:
    if not facts.is_directory or not is_plain(facts):
        raise stale(folder, "something that is no folder stands where one is expected")


def _tidy(wire: Wire, file: bytes, closing: Answer) -> None:
    """Close a file after all, where the end of a compound was not carried out."""
    if not closing.ok:
        wire.abandon(wire.begin([messages.close(file)]))
