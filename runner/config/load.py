"""Text -> nodes. YAML 1.2 without its traps, read event by event, so that no input can exhaust the process.

What is text stays text: only true, false, null and numbers as JSON writes them are anything else. `on`, `no`,
`012`, `1:30` and dates are text. Custom tags, several documents, duplicate keys, and more aliases, depth or
size than a configuration needs are refused, each at its place. Every limit holds before memory is spent.
"""

from __future__ import annotations

import re
from typing import Any

from runner.config.files import read_regular_file
from runner.config.nodes import Faults, Mapping, Member, Node, Place, Scalar, Sequence, Source, Value, quoted
from runner.config.syntax import explain_syntax
from runner.errors import UsageError

SIZE_LIMIT = 5 * 1024 * 1024
DEPTH_LIMIT = 50
ALIAS_LIMIT = 100
NODE_LIMIT = 100_000

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?(?:[eE][-+]?[0-9]{1,2})?")
_CONSTANTS: dict[str, Value] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip
_FORBIDDEN_ASCII = re.compile("[^\t\n\r\x20-\x7e]")
_STRING_TAGS = ("tag:yaml.org,2002:str", "!")


def read_main_source(path: str, faults: Faults) -> Source | None:
    """The file the user named. Raises UsageError when it cannot be read; None when its content is no text."""
    try:
        content, _ = read_regular_file(path, SIZE_LIMIT)
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no configuration file {path}",
            remedy="Make one: sync-runner init. Or name another: -c FILE",
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"the configuration file {path} cannot be read: {reason}",
            remedy="Name a readable file with -c FILE, or make one: sync-runner init",
        ) from error
    return decode(path, content, 0, faults)


def decode(path: str, content: bytes, order: int, faults: Faults) -> Source | None:
    """Bytes -> Source; None (and a fault) when they are too many, or not UTF-8 text."""
    if len(content) > SIZE_LIMIT:
        _add_at_start(path, order, faults, f"the file is larger than {SIZE_LIMIT // 1024**2} MiB")
        return None
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        _add_at_start(path, order, faults, "the file is UTF-16", "save it as UTF-8")
        return None
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        source = Source(path, content.decode("utf-8"), order)
    except UnicodeDecodeError as error:
        source = Source(path, content.decode("utf-8", "replace"), order)
        before = content[: error.start].decode("utf-8")
        message = f"byte 0x{content[error.start]:02x} is not UTF-8"
        faults.add(_place_after(source, before), message, expected="a file saved as UTF-8")
        return None
    forbidden = _forbidden_in(source.text)
    if forbidden is not None:
        place = _place_after(source, source.text[: forbidden.start()])
        faults.add(place, f"the control character U+{ord(forbidden[0]):04X} is not allowed")
        return None
    return source


def _forbidden_in(text: str) -> re.Match[str] | None:
    """The first character that YAML does not allow. The full set takes longer to compile than most files to be read."""
    if text.isascii():
        return _FORBIDDEN_ASCII.search(text)
    return re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]", text)


def parse_document(source: Source, faults: Faults) -> Mapping | None:
    """The one document of a source; None (and faults) when it is not YAML, or no map."""
    count = len(faults)
    root = _Composer(source, faults).compose()
    if len(faults) > count:
        return None
    if root is None or (isinstance(root, Scalar) and root.value is None):
        faults.add(Place(source, 1, 1, 1), "the file is empty", expected="a map that starts with version: 1")
        return None
    if not isinstance(root, Mapping):
        faults.add(root, "the file is not a map", expected="keys such as version, locations and tasks")
        return None
    return root


def resolve_plain(text: str) -> Value:
    """What an unquoted scalar means: a constant, a number as JSON writes it, or else text."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    first = text[0]
    if first.isdecimal() or first == "-":
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text


class _Stop(Exception):
    """The document cannot be read on; the fault is noted."""


class _Frame:
    """A collection that is still open: where it began, what it holds, and its size and height so far."""

    __slots__ = ("anchor", "children", "height", "key", "mapping", "members", "merges", "place", "size")

    def __init__(self, place: Place, anchor: str | None, mapping: bool) -> None:
        self.place = place
        self.anchor = anchor
        self.mapping = mapping
        self.members: dict[str, Member] = {}
        self.children: list[Node] = []
        self.key: Scalar | None = None
        self.merges: list[Mapping] = []
        self.size = 1
        self.height = 1


class _Composer:
    """Builds nodes from PyYAML's events with a stack of its own: depth costs no Python recursion."""

    def __init__(self, source: Source, faults: Faults) -> None:
        self._source = source
        self._faults = faults
        self._stack: list[_Frame] = []
        self._root: Node | None = None
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        self._aliases = 0
        self._size = 0
        self._documents = 0

    def compose(self) -> Node | None:
        """The root node, or None when there is none or it cannot be read."""
        import yaml

        parser = _new_parser(self._source.text)
        handlers: dict[type[Any], Any] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._open_mapping,
            yaml.SequenceStartEvent: self._open_sequence,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }
        try:
            while True:
                event = parser.get_event()
                if event is None or type(event) is yaml.StreamEndEvent:
                    return self._root
                handler = handlers.get(type(event))
                if handler is not None:
                    handler(event)
        except _Stop:
            return None
        except yaml.MarkedYAMLError as error:
            self._syntax_fault(error)
        except yaml.YAMLError as error:
            self._faults.add(Place(self._source, 1, 1, 1), f"this is not YAML: {error}")
        finally:
            parser.dispose()
        return None

    def _stop(self, place: Place, message: str, expected: str | None = None, hint: str | None = None) -> None:
        self._faults.add(place, message, expected=expected, suggestion=hint)
        raise _Stop

    def _place(self, event: Any) -> Place:
        start, end = event.start_mark, event.end_mark
        width = end.column - start.column if end.line == start.line else EXCERPT_WIDTH
        return Place(self._source, start.line + 1, start.column + 1, max(1, width))

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._stop(self._place(event), "a second document starts here", "one document a file")

    def _scalar(self, event: Any) -> None:
        start, end = event.start_mark, event.end_mark
        width = end.column - start.column if end.line == start.line else EXCERPT_WIDTH
        value: Value = event.value
        is_plain = False
        if event.tag is not None:
            self._check_tag(event)
        elif event.implicit[0]:
            is_plain = True
            if self._awaits_value():
                value = resolve_plain(event.value)
        node = Scalar(self._source, start.line + 1, start.column + 1, width or 1, value, is_plain)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, 1, 0)
        self._add(node, 1, 0)

    def _awaits_value(self) -> bool:
        """False where a key stands: keys are text, whatever they look like."""
        return not self._stack or not self._stack[-1].mapping or self._stack[-1].key is not None

    def _check_tag(self, event: Any) -> None:
        if event.tag in _STRING_TAGS and hasattr(event, "value"):
            return
        at = event.start_mark.index if event.start_mark.index is not None else 0
        hint = None
        if not self._source.text.startswith("!!", at):
            hint = "a text that starts with ! has to be quoted: '!keep.log'"
        self._stop(self._place(event), f"the tag {quoted(event.tag)} is not allowed", "plain YAML", hint)

    def _open_mapping(self, event: Any) -> None:
        self._open(event, mapping=True)

    def _open_sequence(self, event: Any) -> None:
        self._open(event, mapping=False)

    def _open(self, event: Any, *, mapping: bool) -> None:
        if event.tag is not None:
            self._check_tag(event)
        start = event.start_mark
        place = Place(self._source, start.line + 1, start.column + 1, 1)
        if not self._awaits_value():
            self._refuse_key(place)
        if len(self._stack) >= DEPTH_LIMIT:
            self._stop(place, f"nested more than {DEPTH_LIMIT} levels deep")
        if event.anchor is not None:
            # An alias inside its own anchor finds None: the collection is not complete yet.
            self._anchors.pop(event.anchor, None)
        self._stack.append(_Frame(place, event.anchor, mapping))

    def _refuse_key(self, place: Place) -> None:
        line = self._source.line(place.line) or ""
        if "{{" in line[max(0, place.column - 2) : place.column + 1]:
            self._stop(
                Place(place.source, place.line, max(1, line.find("{{") + 1), 2),
                "a value that starts with {{ has to be quoted",
                'text such as "{{ env.NAME }}"',
            )
        self._stop(place, "a map or a list cannot be a key", "a name")

    def _close(self, _event: Any) -> None:
        frame = self._stack.pop()
        place = frame.place
        node: Node
        if frame.mapping:
            members = frame.members
            if frame.merges:
                members = dict(members)
                for merged in frame.merges:
                    for key, member in merged.members.items():
                        members.setdefault(key, member)
            node = Mapping(place.source, place.line, place.column, place.width, members)
        else:
            node = Sequence(place.source, place.line, place.column, place.width, tuple(frame.children))
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (node, frame.size, frame.height)
        self._add(node, frame.size, frame.height, counted=True)

    def _alias(self, event: Any) -> None:
        place = self._place(event)
        self._aliases += 1
        if self._aliases > ALIAS_LIMIT:
            self._stop(place, f"more than {ALIAS_LIMIT} aliases", hint="use defaults: or vars: instead")
        if not self._awaits_value():
            self._stop(place, "an alias cannot be a key", "a name")
        known = self._anchors.get(event.anchor)
        if known is None:
            if any(frame.anchor == event.anchor for frame in self._stack):
                self._stop(place, f"the alias {quoted(event.anchor)} refers to itself")
            self._stop(
                place,
                f"there is no anchor {quoted('&' + event.anchor)} before this alias",
                hint="a text that starts with * has to be quoted: '*.tmp'",
            )
            return
        node, size, height = known
        if len(self._stack) + height > DEPTH_LIMIT:
            self._stop(place, f"nested more than {DEPTH_LIMIT} levels deep")
        self._add(node, size, height)

    def _add(self, node: Node, size: int, height: int, *, counted: bool = False) -> None:
        if not counted:
            self._size += size
        else:
            self._size += 1
        if self._size > NODE_LIMIT:
            self._stop(node, f"more than {NODE_LIMIT:,} values, aliases expanded")
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        frame.size += size
        if height >= frame.height:
            frame.height = height + 1
        if not frame.mapping:
            frame.children.append(node)
        elif frame.key is None:
            self._add_key(frame, node)
        else:
            key, frame.key = frame.key, None
            if key.value == "<<" and key.plain:
                self._merge(frame, node)
            elif key.value not in frame.members:
                frame.members[str(key.value)] = Member(key, node)

    def _add_key(self, frame: _Frame, node: Node) -> None:
        if not isinstance(node, Scalar):
            self._refuse_key(node)
            return
        frame.key = node
        first = frame.members.get(str(node.value))
        if first is not None:
            self._faults.add(
                node,
                f"the key {quoted(str(node.value))} is given twice; "
                f"first in line {first.key.line}, column {first.key.column}",
            )

    def _merge(self, frame: _Frame, node: Node) -> None:
        merged = node.children if isinstance(node, Sequence) else (node,)
        for candidate in merged:
            if not isinstance(candidate, Mapping):
                self._stop(candidate, "only a map can be merged with <<", "an alias of a map")
                return
            frame.merges.append(candidate)

    def _syntax_fault(self, error: Any) -> None:
        here, began = error.problem_mark or error.context_mark, error.context_mark
        context, problem = str(error.context or ""), str(error.problem or error)
        message, hint, at_begin = explain_syntax(self._source, context, problem, here)
        mark = began if at_begin and began is not None else here
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        self._faults.add(Place(self._source, line, column, 1), message, suggestion=hint)


EXCERPT_WIDTH = 10_000
"""Wider than any line shown: the collector cuts it to the end of the line."""


def _new_parser(text: str) -> Any:
    """libyaml's parser where PyYAML has it (10 times as fast), else PyYAML's own: the same events."""
    try:
        from yaml._yaml import CParser  # what yaml.cyaml builds CLoader from
    except ImportError:
        import yaml

        return yaml.SafeLoader(text)
    return CParser(text)


def _place_after(source: Source, before: str) -> Place:
    line = before.count("\n") + 1
    return Place(source, line, len(before) - (before.rfind("\n") + 1) + 1, 1)


def _add_at_start(path: str, order: int, faults: Faults, message: str, expected: str | None = None) -> None:
    faults.add(Place(Source(path, "", order), 1, 1, 1), message, expected=expected)
