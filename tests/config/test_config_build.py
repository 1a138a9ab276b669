"""From the file to the typed task: defaults, units, DataSync's words, and what stands between the parts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from config_cases import HEAD, Diagnose, Load, task

from runner.config.describe import describe_task
from runner.model.entry import Kind
from runner.model.task import (
    BandwidthWindow,
    Compare,
    DeletedFiles,
    Durability,
    FilterSettings,
    Guards,
    Limit,
    ManifestSettings,
    MetadataOptions,
    OverwriteMode,
    Owner,
    ReportFormat,
    ScheduleSettings,
    TaskOptions,
    TransferMode,
    VerifyMode,
)


def test_an_empty_task_holds_every_default(load: Load, tmp_path: Path) -> None:
    configuration = load(task())
    read = configuration.tasks["t"]
    assert (read.options, read.filters, read.guards) == (TaskOptions(), FilterSettings(), Guards())
    assert (read.schedule, read.reports) == (None, (ReportFormat.HTML, ReportFormat.JSON))
    assert (read.description, read.enabled) == ("", True)
    assert (configuration.state_directory, configuration.history_url) == (
        str(tmp_path / ".sync-runner"),
        None,
    )
    assert configuration.file == str(tmp_path / "sync.yaml")
    assert list(configuration.locations) == ["a", "b"]
    assert (read.source.type, read.source.options, read.source.base_directory) == (
        "folder",
        {"path": "./a"},
        str(tmp_path),
    )


OPTION_CASES = [
    ("transfer_mode: all", {"transfer_mode": TransferMode.ALL}),
    ("overwrite_mode: if_newer", {"overwrite_mode": OverwriteMode.IF_NEWER}),
    ("compare: checksum", {"compare": Compare.CHECKSUM}),
    ("mtime_tolerance: 2s", {"mtime_tolerance_ns": 2_000_000_000}),
    ("preserve_deleted_files: quarantine", {"preserve_deleted_files": DeletedFiles.QUARANTINE}),
    ("quarantine_keep: 36h", {"quarantine_keep_days": 1.5}),
    ("durability: full", {"durability": Durability.FULL}),
    ("hard_links: copy", {"hard_links": False}),
    ("sparse: false", {"sparse": False}),
    ("special_files: skip", {"special_files": False}),
    ("devices: preserve", {"devices": True}),
    ("retries: {attempts: 5, delay: 1s}", {"attempts": 5, "retry_delay_seconds": 1.0}),
    ("workers: 4", {"workers": 4}),
    ("bandwidth: unlimited", {}),
    ("bandwidth: 80Mbit/s", {"bandwidth": (BandwidthWindow(10_000_000),)}),
    ("bandwidth: [{from: 22:00, to: 06:00, limit: unlimited}, {limit: 1MB/s}]",
     {"bandwidth": (BandwidthWindow(None, 1320, 360), BandwidthWindow(1_000_000))}),
    ("bandwidth: [{from: 00:00, to: 24:00, limit: 1MB/s}]",
     {"bandwidth": (BandwidthWindow(1_000_000, 0, 0),)}),
    ("bandwidth: [{from: 08:00, to: 12:00, limit: 1MB/s}, {from: 12:00, to: 13:00, limit: 2MB/s}]",
     {"bandwidth": (BandwidthWindow(1_000_000, 480, 720), BandwidthWindow(2_000_000, 720, 780))}),
    ("metadata: {mtime: false, owner: names, owner_map: {bob: 7, 1000: al}}",
     {"metadata": MetadataOptions(mtime=False, owner=Owner.NAMES, owner_map=(("1000", "al"), ("bob", "7")))}),
    # DataSync's words.
    ("VerifyMode: POINT_IN_TIME_CONSISTENT", {"verify_mode": VerifyMode.POINT_IN_TIME_CONSISTENT}),
    ("verify_mode: NONE", {"verify_mode": VerifyMode.NONE}),
    ("{TransferMode: ALL, PreserveDeletedFiles: REMOVE}",
     {"transfer_mode": TransferMode.ALL, "preserve_deleted_files": DeletedFiles.REMOVE}),
    ("{Mtime: NONE, Atime: BEST_EFFORT, PosixPermissions: NONE, Uid: NONE, Gid: NONE}",
     {"metadata": MetadataOptions(mtime=False, atime=True, mode=False, owner=Owner.NONE)}),
    ("{Uid: NAME, metadata: {xattrs: false}}",
     {"metadata": MetadataOptions(owner=Owner.NAMES, xattrs=False)}),
    ("PreserveDevices: PRESERVE", {"devices": True}),
    ("BytesPerSecond: -1", {}),
    ("BytesPerSecond: 1048576", {"bandwidth": (BandwidthWindow(1_048_576),)}),
    ("{OverwriteMode: NEVER}", {"overwrite_mode": OverwriteMode.NEVER}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), OPTION_CASES)
def test_options(load: Load, text: str, expected: dict[str, object]) -> None:
    body = text if text.startswith("{") else f"{{{text}}}"
    read = load(task(f"options: {body}")).tasks["t"].options
    assert read == msgspec.structs.replace(TaskOptions(), **expected)
    assert load(f"{task()}defaults: {{options: {body}}}\n").tasks["t"].options == read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("include: '/a|/b*'", FilterSettings(include=("/a|/b*",))),
        ("exclude: ['*.tmp', /c]", FilterSettings(exclude=("*.tmp", "/c"))),
        ("rules: ['*.log', '!keep.log']", FilterSettings(rules=("*.log", "!keep.log"))),
        ("{min_size: 1KiB, max_size: 4GiB}", FilterSettings(min_size_bytes=1024, max_size_bytes=4 * 1024**3)),
        ("{older_than: 1h, newer_than: 90d}",
         FilterSettings(older_than_seconds=3600.0, newer_than_seconds=7_776_000.0)),
        ("{modified_after: 1970-01-02, modified_before: '1970-01-03T01:00:00.5+01:00'}",
         FilterSettings(modified_after_ns=86_400 * 10**9, modified_before_ns=172_800 * 10**9 + 5 * 10**8)),
        ("kinds: [symlink, file]", FilterSettings(kinds=(Kind.SYMLINK, Kind.FILE))),
        ("manifest: {file: '-', format: jsonl}",
         FilterSettings(manifest=ManifestSettings(file=None, format="jsonl"))),
        ("delete_excluded: true", FilterSettings(delete_excluded=True)),
        ("Excludes: [{FilterType: SIMPLE_PATTERN, Value: '*.tmp|/c'}]",
         FilterSettings(exclude=("*.tmp|/c",))),
    ],
)  # fmt: skip
def test_filters(load: Load, text: str, expected: FilterSettings) -> None:
    body = text if text.startswith("{") else f"{{{text}}}"
    assert load(task(f"filters: {body}")).tasks["t"].filters == expected


def test_a_manifest_starts_at_the_folder_of_its_file(load: Load, tmp_path: Path) -> None:
    manifest = load(task("filters: {manifest: {file: ./wanted.csv}}")).tasks["t"].filters.manifest
    assert manifest == ManifestSettings(file=str(tmp_path / "wanted.csv"), format="csv")


def test_guards(load: Load) -> None:
    body = "guards: {max_deletions: {count: 3}, max_overwrites: {size: 1GB, percent: 30}, free_space: false}"
    assert load(task(body)).tasks["t"].guards == Guards(
        max_deletions=Limit(count=3), max_overwrites=Limit(percent=30.0, size_bytes=10**9), free_space=False
    )
    assert load(task("guards: {max_deletions: unlimited}")).tasks["t"].guards.max_deletions == Limit()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{cron: '0 2 * * *', timezone: Europe/Berlin, jitter: 5m, catch_up: true}",
         ScheduleSettings(cron="0 2 * * *", timezone="Europe/Berlin", jitter_seconds=300.0, catch_up=True)),
        ("{every: 12h, enabled: false}", ScheduleSettings(every_seconds=43200.0, enabled=False)),
        ("{rate: 12 hours}", ScheduleSettings(every_seconds=43200.0)),
        ("rate(12 hours)", ScheduleSettings(every_seconds=43200.0)),
        ("12h", ScheduleSettings(every_seconds=43200.0)),
        ("'@daily'", ScheduleSettings(cron="0 0 * * *")),
        ("cron(0 12 ? * SUN,WED *)", ScheduleSettings(cron="cron(0 12 ? * SUN,WED *)")),
        ("{ScheduleExpression: 'cron(0 12 ? * SUN,WED *)', Status: DISABLED}",
         ScheduleSettings(cron="cron(0 12 ? * SUN,WED *)", enabled=False)),
        ("{ScheduleExpression: rate(1 day)}", ScheduleSettings(every_seconds=86400.0)),
    ],
)  # fmt: skip
def test_schedules(load: Load, text: str, expected: ScheduleSettings) -> None:
    assert load(task(f"schedule: {text}")).tasks["t"].schedule == expected


def test_datasync_words_at_the_task(load: Load) -> None:
    text = f"""{HEAD}tasks:
  t:
    Name: Nightly
    SourceLocation: a
    DestinationLocationArn: b
    Options: {{VerifyMode: NONE}}
    Includes: [{{FilterType: SIMPLE_PATTERN, Value: /x|/y*}}]
    filters: {{max_size: 1GB}}
    Schedule: {{ScheduleExpression: rate(2 hours)}}
"""
    read = load(text).tasks["t"]
    assert (read.description, read.source.name, read.destination.name) == ("Nightly", "a", "b")
    assert read.filters == FilterSettings(include=("/x|/y*",), max_size_bytes=10**9)
    assert read.schedule == ScheduleSettings(every_seconds=7200.0)
    assert read.options.verify_mode == VerifyMode.NONE


def test_defaults_are_merged_key_by_key(load: Load) -> None:
    defaults = """defaults:
  options: {workers: 2, metadata: {atime: true, acls: false}, bandwidth: 1MB/s}
  filters: {exclude: [/x], max_size: 1GB}
  schedule: {cron: "0 1 * * *", timezone: Europe/Berlin}
  reports: [csv]
"""
    body = "options: {metadata: {acls: true}}\nfilters: {exclude: [/y]}\n"
    body += "schedule: {every: 2h}\nreports: [md, html]"
    read = load(defaults + task(body)).tasks["t"]
    assert read.options == TaskOptions(
        workers=2,
        metadata=MetadataOptions(atime=True),
        bandwidth=(BandwidthWindow(10**6),),
        bandwidth_timezone="Europe/Berlin",
    )
    assert read.filters == FilterSettings(exclude=("/y",), max_size_bytes=10**9)
    assert read.schedule == ScheduleSettings(every_seconds=7200.0, timezone="Europe/Berlin")
    assert read.reports == (ReportFormat.HTML, ReportFormat.MARKDOWN)


def test_a_location_may_stand_in_the_task(load: Load) -> None:
    text = "version: 1\ntasks: {t: {source: {type: folder, path: x}, destination: {type: folder, path: y}}}"
    configuration = load(text)
    assert list(configuration.locations) == ["t.source", "t.destination"]
    assert configuration.tasks["t"].source == configuration.locations["t.source"]


CROSS_CASES = [
    ("options: {delete_excluded: true}\nfilters: {delete_excluded: false}",
     "9:32 options.delete_excluded contradicts filters.delete_excluded"),
    ("filters: {min_size: 2MB, max_size: 1MB}", "9:15 min_size is larger than max_size: no file can pass"),
    ("filters: {older_than: 2d, newer_than: 1d}",
     "9:15 older_than is longer than newer_than: no file can pass"),
    ("filters: {modified_before: 2020-01-01, modified_after: 2020-01-01}",
     "9:15 modified_before is not later than modified_after: no file can pass"),
    ("filters: {modified_before: 2020-02-30}",
     "9:32 '2020-02-30' is not a date that exists: day is out of range for month"),
    ("filters: {manifest: {file: x}, include: [/a]}", "9:15 a manifest cannot be used together with include"),
    ("filters: {include: ['*.txt']}", "9:25 pattern '*.txt' may hold \"*\" only as its last character"),
    ("schedule: {cron: '0 2 * * *', every: 2h}", "9:35 cron and every are both given"),
    ("schedule: {timezone: UTC}", "9:15 the schedule says no time"),
    ("schedule: {every: 0s}", "9:23 the interval is shorter than a second"),
    ("schedule: {every: 2h, timezone: Europe/Berlni}", "9:37 'Europe/Berlni' is not a known time zone"),
    ("schedule: {every: 2h, timezone: ../../etc/passwd}", "9:37 '../../etc/passwd' is not a known time zone"),
    ("schedule: {cron: '0 0 31 2 *'}", "9:22 '0 0 31 2 *' never comes: no month of it has such a day"),
    ("schedule: {cron: '@reboot'}", "9:22 '@reboot' is no time"),
    ("schedule: {cron: cron(0 12 * * * *)}", "9:22 'cron(0 12 * * * *)': EventBridge wants ? in one of"),
    ("schedule: {every: 2h, not_between: [{from: '06:00', to: '18:00'}, {from: '17:00', to: '06:00'}]}",
     "9:27 the windows leave no minute of the week to start in"),
    ("options: {bandwidth: 0B/s}", "9:26 '0B/s' is not a rate; write 20MiB/s, 80Mbit/s or unlimited"),
    ("options: {bandwidth: [{limit: 1MB/s}, {limit: 2MB/s}]}",
     "9:43 there is a second window without from and to; the other is in line 9"),
    ("options: {bandwidth: [{from: 22:00, to: 06:00, limit: 1MB/s}, {from: 05:00, to: 07:00, limit: 2MB/s}]}",
     "9:67 windows overlap; the other is in line 9"),
    ("options: {bandwidth: [{from: 05:00, to: 05:00, limit: 1MB/s}]}",
     "9:27 the window is empty: from and to are the same time"),
    ("options: {VerifyMode: NONE, verify_mode: none}",
     "9:15 VerifyMode is DataSync's name for verify_mode, which is given as well; the other is in line 9"),
    ("options: {Uid: NAME, Gid: NONE}", "9:26 Gid and Uid have to agree; the other is in line 9, column 15"),
    ("options: {Uid: BOTH}", "9:20 'BOTH' is not a value of Uid"),
    ("options: {Mtime: NONE, metadata: {mtime: true}}", "9:15 Mtime is DataSync's name for metadata.mtime"),
    ("options: {LogLevel: OFF}", "9:15 DataSync's LogLevel has no counterpart here"),
    ("options: {BytesPerSecond: 0}", "9:31 0 is not a value of BytesPerSecond"),
    ("Excludes: [{FilterType: REGEX, Value: x}]", "9:16 this is not a rule of Excludes"),
    ("options: {quarantine_keep: 99999w}", "9:32 '99999w' is longer than a hundred years"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), CROSS_CASES)
def test_what_no_schema_can_say(diagnose: Diagnose, body: str, expected: str) -> None:
    (found,) = diagnose(task(body))
    assert f"{found.line}:{found.column} {found.message}"[: len(expected)] == expected


@pytest.mark.parametrize(
    ("description", "destination", "expected"),
    [
        ("the same", "a", "source and destination are the same location 'a'"),
        ("inside", "inner", "the destination lies inside the source, or the other way"),
        ("around", "outer", "the destination lies inside the source, or the other way"),
        ("undeclared", "outr", "the destination of task 't' names a location that is not declared: 'outr'"),
    ],
)
def test_endpoints_that_do_not_fit(
    diagnose: Diagnose, description: str, destination: str, expected: str
) -> None:
    text = f"""version: 1
locations:
  a: {{type: folder, path: ./a}}
  inner: {{type: folder, path: ./a/b}}
  outer: {{type: folder, path: .}}
tasks: {{t: {{source: a, destination: {destination}}}}}
"""
    (found,) = diagnose(text)
    assert (found.line, found.column, found.message[: len(expected)]) == (6, 37, expected)


def test_one_bad_task_hides_nothing_in_the_others(diagnose: Diagnose) -> None:
    text = HEAD + "defaults: {options: {sparse: maybe}}\ntasks:\n"
    text += "".join(
        f"  t{i}: {{source: a, destination: gone, options: {{workers: -1}}}}\n" for i in range(20)
    )
    text += "  last: {source: a, destination: b, schedule: {cron: '61 * * * *'}}\n"
    found = diagnose(text)
    expected = [(5, "does not fit")] + [
        fault for i in range(20) for fault in ((7 + i, "is not declared"), (7 + i, "is too small"))
    ]
    assert [d.line for d in found] == [line for line, _ in expected] + [27]
    assert all(words in d.message for d, (_, words) in zip(found, expected, strict=False))


def test_many_faults_are_counted(diagnose: Diagnose) -> None:
    text = HEAD + "tasks:\n" + "".join(f"  t{i}: 1\n" for i in range(250))
    found = diagnose(text)
    assert [d.line for d in found[:100]] == list(range(6, 106))
    assert (len(found), found[-1].message) == (101, "and 150 more faults")


def test_digests_cover_what_decides_a_plan(load: Load) -> None:
    base = load(task("filters: {exclude: ['*.tmp', /c]}")).tasks["t"]

    def digests(body: str, head: str = HEAD) -> tuple[bool, bool]:
        read = load(task(body).replace(HEAD, head)).tasks["t"]
        return read.config_digest == base.config_digest, read.filter_digest == base.filter_digest

    same = "filters: {exclude: ['*.tmp', /c]}"
    assert digests("# a note\nfilters: {exclude: [/c, '*.tmp']}") == (True, True)
    assert digests("Excludes: [{Value: '*.tmp|/c'}]") == (True, True)
    assert digests(f"{same}\nguards: {{max_deletions: {{count: 1}}}}\nreports: []\ndescription: x") == (
        True,
        True,
    )
    assert digests(f"{same}\nschedule: 12h\noptions: {{workers: 3, bandwidth: 1MB/s}}") == (True, True)
    assert digests(f"{same}\noptions: {{transfer_mode: changed}}") == (True, True)
    assert digests(f"{same}\noptions: {{transfer_mode: all}}") == (False, True)
    assert digests("filters: {exclude: ['*.tmp']}") == (False, False)
    assert digests(same, HEAD.replace("./b", "./c")) == (False, True)
    assert digests(same, HEAD.replace("type: folder, path: ./b", "path: ./b, type: folder")) == (True, True)


def test_digests_hold_references_not_secrets(load: Load) -> None:
    text = """version: 1
locations:
  a: {type: folder, path: ./a}
  v: {type: vault, url: u, password: "{{ env.P }}"}
tasks: {t: {source: a, destination: v}}
"""
    first = load(text, {"P": "one"}).tasks["t"]
    assert load(text, {"P": "two"}).tasks["t"].config_digest == first.config_digest
    other = load(text.replace("env.P", "secret_env('P')"), {"P": "one"}).tasks["t"]
    assert other.config_digest != first.config_digest


def test_a_description_is_complete_and_plain(load: Load) -> None:
    read = load(task("schedule: 12h")).tasks["t"]
    described = describe_task(read)
    assert described == msgspec.json.decode(msgspec.json.encode(described))
    assert list(described["options"]) == list(TaskOptions.__struct_fields__)
    assert described["schedule"]["every_seconds"] == 43200.0
    assert describe_task(load(task("schedule: 12h")).tasks["t"]) == described
