"""One system call of a real run fails, lies or kills: each call in turn, of runs that do every kind of change.

A case is scene:call:number:fault. The number counts calls of that name in one thread of a run without faults; a case
is right when its fault was seen to happen and `faults_of` finds nothing to object to.
"""

from __future__ import annotations

import queue
import random
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from . import judge, strace
from .scenes import SCENES, Place, Scene
from .zygote import Ended, Zygote

KILL = "KILL"
LASTING = "+"
ATTEMPTS = 5
"""A case whose fault did not happen, or elsewhere, is tried again: workers share out their work as it comes."""

_WRITES = {"EIO", "ENOSPC", KILL, "EIO+", "ENOSPC+"}
EFFECTS: dict[str, tuple[str, ...]] = {
    "openat": ("EIO", "EMFILE", "EACCES", KILL),
    "read": ("EIO", "EINTR", "=0"),
    "pread64": ("EIO", "EINTR", "=0"),
    "preadv2": ("EIO", "EINTR", "=0"),
    "getdents64": ("EIO", "EACCES"),
    "newfstatat": ("EIO",),
    "readlinkat": ("EIO",),
    "lseek": ("EIO",),
    "flistxattr": ("EIO", "EOPNOTSUPP"),
    "llistxattr": ("EIO",),
    "fgetxattr": ("EIO",),
    "lgetxattr": ("EIO",),
    "write": (*sorted(_WRITES), "=3"),
    "pwrite64": (*sorted(_WRITES), "=100"),
    "copy_file_range": ("EIO", "ENOSPC", "EXDEV", "=0", "=100", KILL, "EIO+"),
    "ftruncate": ("EIO", "ENOSPC", KILL),
    "fallocate": ("ENOSPC",),
    "fsync": ("EIO", "ENOSPC", "EINVAL", KILL, "EIO+"),
    "fdatasync": ("EIO", KILL),
    "fadvise64": ("EIO",),
    "close": ("EIO",),
    "linkat": ("EIO", "ENOSPC", "EPERM", "EMLINK", KILL, "EIO+"),
    "rename": ("EIO", "ENOSPC", KILL, "EIO+"),
    "renameat": ("EIO", "EXDEV", "EBUSY", "EPERM", KILL, "EIO+"),
    "renameat2": ("EIO", "ENOSYS", "EINVAL", "EBUSY", KILL, "EIO+"),
    "mkdir": ("EIO", "ENOSPC", KILL),
    "mkdirat": ("EIO", "ENOSPC", "EPERM", KILL, "EIO+"),
    "mknodat": ("EIO", "EPERM", KILL),
    "symlinkat": ("EIO", "ENOSPC", KILL, "EIO+"),
    "unlink": ("EIO", "EPERM", KILL),
    "unlinkat": ("EIO", "EPERM", "EBUSY", KILL, "EIO+"),
    "fchmod": ("EIO", "EPERM", KILL, "EIO+"),
    "fchmodat": ("EIO", "EPERM", KILL),
    "chmod": ("EIO", "EPERM", KILL),
    "fchown": ("EIO", "EPERM", KILL),
    "fchownat": ("EIO", "EPERM", KILL),
    "utimensat": ("EIO", "EPERM", KILL, "EIO+"),
    "fsetxattr": ("EIO", "ENOSPC", "EOPNOTSUPP", KILL),
    "setxattr": ("EIO", "ENOSPC", "EOPNOTSUPP", KILL),
    "removexattr": ("EIO", KILL),
    "fremovexattr": ("EIO", KILL),
    "flock": ("EIO", "ENOLCK"),
    "ioctl": ("EIO", "EOPNOTSUPP"),
    "fstatfs": ("EIO",),
}
"""What happens to each call: an errno once, an errno from there on (+), a result that is not true (=), or a death."""

_CODES = frozenset({0, 2, 4, 5, 6, 7, 8})
_FOUND = 5
_UNCHAINED = "reports was not continued"
_KILLED = -9


class Case(NamedTuple):
    """One fault in one run."""

    scene: str
    call: str
    number: int
    effect: str

    def __str__(self) -> str:
        return f"{self.scene}:{self.call}:{self.number}:{self.effect}"

    @property
    def lies(self) -> bool:
        """Whether the kernel says that it wrote what it did not write."""
        return self.call in ("pwrite64", "copy_file_range") and self.effect.startswith("=")

    @property
    def mutes(self) -> bool:
        """Whether the command can say nothing any more, not even that it cannot."""
        return self.call == "write" and self.lasts

    @property
    def lasts(self) -> bool:
        return self.effect.endswith(LASTING)

    @property
    def injection(self) -> str:
        """As strace takes it."""
        lasting = LASTING if self.lasts else ""
        effect = self.effect.removesuffix(LASTING)
        if effect == KILL:
            what = "signal=KILL"
        elif effect.startswith("="):
            what = f"retval={effect[1:]}"
        else:
            what = f"error={effect}"
        return f"inject={self.call}:{what}:when={self.number}{lasting}"


class Result(NamedTuple):
    """`injected`: whether the fault was seen to happen. `faults`: what must not be, and is."""

    case: Case
    injected: bool
    faults: tuple[str, ...]


def parse_case(text: str) -> Case:
    scene, call, number, effect = text.split(":")
    return Case(scene, call, int(number), effect)


class Bench:
    """One scene in one folder, with a zygote of its own. A context manager; one thread."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene = scene
        self.place = Place(folder / "place", scene)
        self._log = folder / "trace"
        self.place.make()
        # What it spools is to be seen, too.
        environment = {**scene.environment, "TMPDIR": str(self.place.temporary)}
        self._zygote = Zygote(folder / "output", environment)
        self.old = judge.rows_of(self.place.destination)
        self.new = judge.rows_of(self.place.source)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._zygote.__exit__(None, None, None)

    def cases(self) -> list[Case]:
        """Every case of the scene, from one run that goes well."""
        self.place.make(fresh_source=False)
        run = self._zygote.start(self.place.folder, ("run", "t"))
        with strace.traced(run, self._log, ("-y",)):
            pass
        ended = run.wait()
        assert ended.code == 0, ended
        assert self._unlike_source() == []
        calls = strace.calls(self._log)
        # A number means a call of each thread: none of them may be about something else.
        elsewhere = {(call.name, call.number) for call in calls if not self._is_about_place(call.line)}
        numbers = dict.fromkeys((call.name, call.number) for call in calls)
        return [
            Case(self.scene.name, name, number, effect)
            for name, number in numbers
            if (name, number) not in elsewhere
            for effect in EFFECTS.get(name, ())
        ]

    def _is_about_place(self, line: str) -> bool:
        """Whether a call touches source, destination or state. Paths count, the working directory that strace writes
        beside relative ones does not; control.json is looked for by the clock."""
        folder = str(self.place.folder.resolve())
        # A call that fails opens nothing: what it was about stands in its arguments.
        line = re.sub(r" = \d+<[^<>]*>[^<>]*$", "", line)
        return folder in line.replace(f"AT_FDCWD<{folder}>", "") and "control.json" not in line

    def try_case(self, case: Case) -> Result:
        """Run it, until its fault happens or it was tried often enough."""
        for _ in range(ATTEMPTS):
            result = self._try(case)
            if result.injected:
                break
        return result

    def _try(self, case: Case) -> Result:
        self.place.make(fresh_source=False)
        run = self._zygote.start(self.place.folder, ("run", "t"))
        options = ("-y", "-e", f"trace={case.call}", "-e", case.injection)
        try:
            with strace.traced(run, self._log, options):
                pass
            ended = run.wait()
        except TimeoutError as error:
            return Result(case, True, (str(error),))
        altered, killed = strace.injected(self._log)
        if not (altered or killed):
            return Result(case, False, ("the fault did not happen",))
        about = [self._is_about_place(line) for line in altered]
        # What lasts goes on to whatever comes next.
        if not (killed or all(about) or (case.lasts and any(about))):
            return Result(case, False, (f"the fault happened elsewhere: {altered[0]}",))
        if case.lies and self.scene.options.get("integrity") == "size" and ended.code == _FOUND:
            # Nothing is read back before it is published there: it has to be found and told by verification.
            return Result(case, True, ())
        faults = [*self._faults_of(case, ended), *self._faults_after(chained=_UNCHAINED not in ended.err)]
        if judge.rows_of(self.place.source) != self.new:
            faults.append(
                "the source was touched: "
                + "; ".join(judge.unequal(judge.rows_of(self.place.source), self.new))
            )
            self.place.make()
        return Result(case, True, tuple(faults))

    def _unlike_source(self) -> list[str]:
        return judge.unequal(judge.content_rows(judge.rows_of(self.place.destination)), self.new)

    def _faults_of(self, case: Case, ended: Ended) -> list[str]:
        """What the run with the fault did wrong."""
        present = judge.rows_of(self.place.destination)
        faults = judge.torn(present, self.old, self.new)
        if self.scene.quarantines:
            faults += judge.lost(present, self.old, self.new)
        said = ended.out + ended.err
        if ended.code == 0:
            faults += [f"exit 0, but {difference}" for difference in self._unlike_source()]
        elif ended.code != _KILLED:
            if ended.code not in _CODES and not case.mutes:
                faults.append(f"exit {ended.code}: {said[-600:]} {self._crash_files()}")
            if len(judge.temporaries(present)) > self.scene.workers and case.call != "unlinkat":
                faults.append(f"left behind: {judge.temporaries(present)}")
        if "Traceback" in said and not case.mutes:
            faults.append(f"a traceback: {said[-1500:]}")
        return faults

    def _crash_files(self) -> str:
        """What a defect leaves for its report."""
        files = [
            *self.place.state.glob("sync-runner-crash-*"),
            *self.place.temporary.glob("sync-runner-crash-*"),
        ]
        return "\n".join(file.read_text() for file in files)

    def _faults_after(self, *, chained: bool) -> list[str]:
        """What is wrong once it ran again without a fault. `chained`: it did not say that its report is no link."""
        again = self._zygote.run(self.place.folder, "run", "t")
        faults = []
        if again.code != 0:
            faults.append(f"run again: exit {again.code}: {(again.out + again.err)[-600:]}")
        faults += [f"run again, but {difference}" for difference in self._unlike_source()]
        present = judge.rows_of(self.place.destination)
        if self.scene.quarantines:
            faults += [f"run again: {one}" for one in judge.lost(present, self.old, self.new)]
        faults += [f"left behind: {path!r}" for path in judge.temporaries(present)]
        faults += [f"left behind: {path}" for path in judge.state_leftovers(self.place.state)]
        chain = self._zygote.run(self.place.folder, "report", "--verify-chain", "t")
        if chained and chain.code != 0:
            faults.append(f"the chain of reports: exit {chain.code}: {(chain.out + chain.err)[-600:]}")
        plan = self._zygote.run(self.place.folder, "plan", "t", "--detailed-exitcode")
        if plan.code != 0:
            faults.append(f"the next plan is not empty: {plan.out[-600:]}")
        return faults


def sweep(
    cases: Sequence[Case],
    folder: Path,
    jobs: int = 1,
    tell: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """The results of all cases, in no order; `jobs` at a time. Calls `tell` from one thread at a time."""
    waiting: queue.SimpleQueue[tuple[Scene, list[Case]]] = queue.SimpleQueue()
    scenes = {scene.name: scene for scene in SCENES}
    for name, scene in scenes.items():
        own = [case for case in cases if case.scene == name]
        for start in range(jobs):
            if own[start::jobs]:
                waiting.put((scene, own[start::jobs]))
    results: list[Result] = []
    telling = threading.Lock()
    failures: list[BaseException] = []

    def work() -> None:
        while not failures:
            try:
                scene, own = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                with Bench(scene, Path(tempfile.mkdtemp(dir=folder))) as bench:
                    for case in own:
                        result = bench.try_case(case)
                        with telling:
                            results.append(result)
                            tell(result)
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results


def all_cases(folder: Path, scenes: Iterable[str] = ()) -> list[Case]:
    """The cases of these scenes, of all when none is named."""
    wanted = set(scenes)
    found = []
    for scene in SCENES:
        if not wanted or scene.name in wanted:
            with Bench(scene, Path(tempfile.mkdtemp(dir=folder))) as bench:
                found += bench.cases()
    return found


def sample(cases: Sequence[Case], count: int, seed: int) -> list[Case]:
    """About so many cases, of every call and effect some."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.call, case.effect), []).append(case)
    random_number = random.Random(seed)
    for group in groups.values():
        random_number.shuffle(group)
    chosen: list[Case] = []
    while len(chosen) < min(count, len(cases)):
        for group in groups.values():
            if group and len(chosen) < count:
                chosen.append(group.pop())
    return chosen


def is_clean(cases: Sequence[Case], results: Sequence[Result]) -> bool:
    """Whether all were run, every fault happened, and nothing went wrong. No cases prove nothing."""
    return 0 < len(cases) == len(results) and all(result.injected and not result.faults for result in results)


def summary(cases: Sequence[Case], results: Sequence[Result]) -> str:
    """One line: how many were run, in how many the fault happened, how many went wrong."""
    injected = sum(result.injected for result in results)
    wrong = sum(bool(result.faults) for result in results)
    calls = len({case.call for case in cases})
    return f"{len(results)} cases run over {calls} calls, {injected} faults injected, {wrong} wrong"
