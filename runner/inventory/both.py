"""Both listings of a task, as they are compared: patient, ahead where a network is waited for, without twins."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from runner.filters.selection import Selection
from runner.inventory.ahead import ahead
from runner.inventory.listing import Found, counted, inventory
from runner.inventory.owners import mapped_owners
from runner.inventory.twins import CaseTwins, one_kind_a_name
from runner.locations.observer import observed
from runner.locations.pair import Endpoints
from runner.locations.protocol import Location, Scan
from runner.model.activity import Activity
from runner.model.entry import Entry
from runner.model.task import Compare, Task

OnEntries = Callable[[int], None]


def both_listings(
    task: Task,
    endpoints: Endpoints,
    selection: Selection,
    on_source: OnEntries,
    on_destination: OnEntries,
    scans: tuple[Scan, Scan] | None = None,
    *,
    reads: bool = False,
) -> tuple[Iterator[Found], Iterator[Found]]:
    """The source's entries, with owners as they are to be at the destination, and the destination's.

    What the filters hide is listed at the destination only when it is to be deleted. Close both to give up early.
    `scans` take the place of the locations' own. `reads`: content is compared while they are listed.
    """
    descend = None if selection.is_trivial else selection.descend
    descend_destination = None if task.filters.delete_excluded else descend
    holds = endpoints.destination.capabilities
    own = (endpoints.source.scan, endpoints.destination.scan)
    scan_source, scan_destination = scans or own
    reads = reads or task.options.compare is Compare.CHECKSUM
    source = _listing(endpoints, endpoints.source, scan_source, descend, on_source, reads=reads)
    source = mapped_owners(source, task.options.metadata)
    if endpoints.source.capabilities.file_beside_folder and not holds.file_beside_folder:
        source = one_kind_a_name(source)
    destination = _listing(
        endpoints,
        endpoints.destination,
        scan_destination,
        descend_destination,
        on_destination,
        reads=reads,
    )
    if holds.case_sensitive:
        return source, destination
    return _without_case_twins(source, destination)


def _listing(
    endpoints: Endpoints,
    location: Location,
    scan: Scan,
    descend: Callable[[Entry], bool] | None,
    on_entries: OnEntries,
    *,
    reads: bool,
) -> Iterator[Found]:
    # Comparing content reads both locations while they are listed; one thread at a time may use them.
    observer = endpoints.observer
    if not location.capabilities.remote:
        # Drivers of disks tell themselves when they list: asking the time for each entry would cost more than it.
        return inventory(location, descend, on_entries, patience=endpoints.patience, scan=scan)
    listing = inventory(location, descend, patience=endpoints.patience, scan=scan)
    if reads:
        return counted(observed(listing, observer, Activity.LISTING), on_entries)
    # Counted on this side of the border: whoever hears the count need not expect another thread.
    return counted(ahead(listing, observer), on_entries)


def _without_case_twins(
    source: Iterator[Found], destination: Iterator[Found]
) -> tuple[Iterator[Found], Iterator[Found]]:
    shared: list[CaseTwins] = []

    def twins() -> CaseTwins:
        if not shared:
            shared.append(CaseTwins(source, destination))
        return shared[0]

    # Either side may end first: then the other still needs what waits on disk. Given up early, nobody does.
    ended: set[int] = set()

    def side(number: int) -> Iterator[Found]:
        both = twins()
        try:
            yield from both.destination() if number else both.source()
        except BaseException:
            both.close()
            raise
        ended.add(number)
        if len(ended) == 2:
            both.close()

    return side(0), side(1)
