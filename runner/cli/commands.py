"""Every command, declared once: the parser, the help, the completion and docs/cli.md all follow from here."""

from __future__ import annotations

from runner.cli.declaration import Command, Count, Option, Positional
from runner.errors import ExitCode

LOG_LEVELS = ("debug", "info", "warning", "error")
REPORT_FORMATS = ("html", "json", "csv", "junit", "md")

GLOBAL_OPTIONS = (
    Option(
        ("-c", "--config"),
        "The configuration file; ./sync.yaml when not given.",
        value="FILE",
        environment="SYNC_RUNNER_CONFIG",
    ),
    Option(
        ("--json",),
        "Print only JSON on standard output: one object, or for run one object a line.",
        environment="SYNC_RUNNER_JSON",
    ),
    Option(
        ("-q", "--quiet"),
        "Print errors and what was asked for, but no progress and no summary.",
        environment="SYNC_RUNNER_QUIET",
    ),
    Option(("-v", "--verbose"), "Log more on standard error: -v for info, -vv for debug.", repeat=True),
    Option(
        ("--log-level",),
        "Log from this level on: debug, info, warning (the default) or error.",
        value="LEVEL",
        choices=LOG_LEVELS,
        environment="SYNC_RUNNER_LOG_LEVEL",
    ),
    Option(
        ("--log-format",),
        "How log lines look: human (the default) or json, one object a line.",
        value="FORMAT",
        choices=("human", "json"),
        environment="SYNC_RUNNER_LOG_FORMAT",
    ),
    Option(("--no-progress",), "Show no progress.", environment="SYNC_RUNNER_NO_PROGRESS"),
    Option(("-h", "--help"), "Show help for the command and stop."),
    Option(("-V", "--version"), "Print the version and stop."),
)

_TASK = Positional("TASK", "The task's name in the configuration.", words="task")
_ACCEPT = Option(
    ("--accept",),
    "Go on although this guard refuses; repeat for several. The refusal names the guard.",
    value="GUARD",
    repeat=True,
)
_BANDWIDTH = Option(
    ("--bandwidth",),
    "Use this limit instead of the task's own: 20MiB/s, 80Mbit/s or unlimited.",
    value="RATE",
)
_EXECUTING = (
    ExitCode.DONE,
    ExitCode.USAGE,
    ExitCode.ACTIONS_FAILED,
    ExitCode.VERIFICATION_FAILED,
    ExitCode.GUARD_REFUSED,
    ExitCode.LOCATION_UNAVAILABLE,
    ExitCode.LOCK_HELD,
    ExitCode.INTERRUPTED,
)

START, SYNCHRONISE, UNATTENDED, UNDERSTAND, LOOK_BACK, ABOUT = (
    "Start",
    "Synchronise",
    "Unattended",
    "Understand",
    "Look back",
    "About",
)

COMMANDS = (
    Command(
        name="init",
        group=START,
        brief=True,
        summary="Write a commented sample configuration.",
        description=(
            "Writes a sample configuration, with every option explained, to FILE. "
            "A file that is already there is never overwritten."
        ),
        handler="runner.cli.command_configuration:init",
        positionals=(
            Positional("FILE", "Where to write; ./sync.yaml when not given.", Count.OPTIONAL, words="file"),
        ),
        examples=(("sync-runner init", "writes ./sync.yaml"),),
    ),
    Command(
        name="validate",
        group=START,
        brief=True,
        summary="Check the configuration; no location is opened.",
        description=(
            "Reads the configuration with all it includes and reports every fault at once, each with its "
            "file, line and column, what was expected and what was probably meant."
        ),
        handler="runner.cli.command_configuration:validate",
        examples=(
            ("sync-runner validate", "checks ./sync.yaml"),
            ("sync-runner validate -c /etc/sync.yaml --json", "faults as JSON, for editors and CI"),
        ),
    ),
    Command(
        name="schema",
        group=START,
        brief=True,
        summary="Print the configuration's JSON Schema.",
        description=(
            "Prints the JSON Schema (2020-12) of the configuration, with the options of every installed "
            "location type, for editors and other tools."
        ),
        handler="runner.cli.command_configuration:schema",
        examples=(("sync-runner schema > sync.schema.json", "keeps it beside your configuration"),),
    ),
    Command(
        name="locations",
        group=START,
        summary="List, check or adopt the declared locations, or list the location types.",
        description=(
            "`list` shows the locations that the configuration declares, with their addresses, what they can "
            "hold, and whether they are ONLINE or OFFLINE now. `check NAME` tries one out: reachable, "
            "credentials, clock, and, in a folder of its own that is removed again, whether it can be written "
            "to and keeps what its driver promises. `types` shows the location types that are installed. "
            "`adopt NAME` takes what stands there now for the right place, after it was moved, swapped or restored "
            "on purpose: it makes the marker where one is wanted, and all tasks that use the location trust it from "
            "then on. Look first that it is mounted, and make a plan afterwards."
        ),
        handler="runner.cli.command_locations:locations",
        positionals=(
            Positional(
                "WHAT",
                "list (the default), check, types or adopt.",
                Count.OPTIONAL,
                choices=("list", "check", "types", "adopt"),
            ),
            Positional("NAME", "The location to check or adopt.", Count.OPTIONAL),
        ),
        options=(
            Option(("--no-connect",), "list: contact nothing."),
            Option(("--read-only",), "check: write nothing, also where tasks write."),
            Option(("--write",), "check: write, also where no task does."),
            Option(
                ("--empty",),
                "adopt: also a location that lists nothing, though executions saw something else.",
            ),
        ),
        examples=(
            ("sync-runner locations", "the locations of ./sync.yaml, and which of them answer"),
            ("sync-runner locations check archive", "prove what this one can do"),
            ("sync-runner locations types", "what a location's type may be"),
            ("sync-runner locations adopt archive", "this is the right disk, from now on"),
        ),
        exit_codes=(
            ExitCode.DONE,
            ExitCode.USAGE,
            ExitCode.ACTIONS_FAILED,
            ExitCode.LOCATION_UNAVAILABLE,
            ExitCode.LOCK_HELD,
            ExitCode.INTERRUPTED,
        ),
    ),
    Command(
        name="plan",
        group=SYNCHRONISE,
        brief=True,
        summary="Show what a run would do, and change nothing.",
        description=(
            "Lists both sides, compares them, and shows what a run would copy, replace and delete, and why. "
            "Writes nothing at either location. With -o the plan is kept in a file, and `apply` does "
            "exactly that plan, action by action."
        ),
        handler="runner.cli.command_plan:plan",
        positionals=(_TASK,),
        options=(
            Option(("-o", "--output"), "Keep the plan in this file; .gz compresses it.", value="PLAN"),
            Option(("--detailed-exitcode",), "End with 3 instead of 0 when there is something to do."),
            _ACCEPT,
        ),
        examples=(
            ("sync-runner plan photos", "what would happen"),
            ("sync-runner plan photos -o photos.jsonl", "keep it, to apply exactly this"),
            ("sync-runner plan photos --json | jq .trailer.totals", "totals, for scripts"),
        ),
        exit_codes=(
            ExitCode.DONE,
            ExitCode.USAGE,
            ExitCode.DIFFERENCES,
            ExitCode.ACTIONS_FAILED,
            ExitCode.GUARD_REFUSED,
            ExitCode.LOCATION_UNAVAILABLE,
            ExitCode.INTERRUPTED,
        ),
    ),
    Command(
        name="apply",
        group=SYNCHRONISE,
        summary="Carry out a plan that was kept with plan -o.",
        description=(
            "Does what the plan says and nothing else. Each action first checks that source and destination "
            "are as the plan saw them; one that is not is stale, left out and reported; the rest goes on. "
            "A plan made for another configuration is refused."
        ),
        handler="runner.cli.command_run:apply",
        positionals=(Positional("PLAN", "The file that plan -o wrote.", words="file"),),
        options=(_ACCEPT, _BANDWIDTH),
        examples=(("sync-runner apply photos.jsonl", "what was reviewed, exactly"),),
        exit_codes=_EXECUTING,
    ),
    Command(
        name="run",
        group=SYNCHRONISE,
        summary="Plan, apply, verify and report, in one go.",
        description=(
            "Runs the tasks in the order given; without a name all enabled tasks, in the order of the file. "
            "A task that fails does not keep the others from running; the exit code is the gravest one. "
            "Ctrl-C finishes the files in flight and stops; a second Ctrl-C stops at once. Either way no "
            "destination file is ever half-written, and the next run goes on where this one stopped."
        ),
        handler="runner.cli.command_run:run",
        positionals=(
            Positional("TASK", "Tasks to run; all enabled ones when not given.", Count.ANY, words="task"),
        ),
        options=(
            _ACCEPT,
            _BANDWIDTH,
            Option(("--here",), "Run in this process, also while a service could do it."),
        ),
        examples=(
            ("sync-runner run", "all enabled tasks"),
            ("sync-runner run photos --bandwidth 20MiB/s", "one task, gently"),
            ("sync-runner run --json | jq .execution.summary", "one report object a line"),
        ),
        exit_codes=_EXECUTING,
    ),
    Command(
        name="check",
        group=SYNCHRONISE,
        brief=True,
        summary="Tell whether the destination has drifted, and change nothing.",
        description=(
            "Compares both sides as plan does. Ends with 0 when they are in sync, with 3 when a run would "
            "change something, with 4 when something could not be listed."
        ),
        handler="runner.cli.command_plan:check",
        positionals=(_TASK,),
        examples=(("sync-runner check photos || echo drifted", "for monitoring"),),
        exit_codes=(
            ExitCode.DONE,
            ExitCode.USAGE,
            ExitCode.DIFFERENCES,
            ExitCode.ACTIONS_FAILED,
            ExitCode.LOCATION_UNAVAILABLE,
            ExitCode.INTERRUPTED,
        ),
    ),
    Command(
        name="verify",
        group=SYNCHRONISE,
        summary="Read both sides again and compare every byte and all metadata.",
        description=(
            "Verification without a transfer: every file is read on both sides, whatever size and time say. "
            "Each finding has a code (checksum_failure, metadata_failure, file_added, file_removed, ...). "
            "The result is an execution with a report."
        ),
        handler="runner.cli.command_run:verify",
        positionals=(_TASK,),
        options=(_BANDWIDTH,),
        examples=(("sync-runner verify photos", "after a disk gave warnings"),),
        exit_codes=(
            ExitCode.DONE,
            ExitCode.USAGE,
            ExitCode.ACTIONS_FAILED,
            ExitCode.VERIFICATION_FAILED,
            ExitCode.LOCATION_UNAVAILABLE,
            ExitCode.LOCK_HELD,
            ExitCode.INTERRUPTED,
        ),
    ),
    Command(
        name="restore",
        group=SYNCHRONISE,
        summary="Bring back what a run moved to quarantine.",
        description=(
            "With preserve_deleted_files: quarantine, a run moves what it would delete aside. "
            "This brings it back: all of an execution, or only the paths named. Nothing that stands at the "
            "destination is overwritten. What was purged because its time was over is named as such. "
            "--as-of looks through all executions since a moment, and brings back what stood there then; what was "
            "replaced since is nowhere, and named."
        ),
        handler="runner.cli.command_run:restore",
        positionals=(
            _TASK,
            Positional("PATH", "Only these paths, relative to the destination.", Count.ANY, words="path"),
        ),
        options=(
            Option(("--execution",), "From this execution; the latest one when not given.", value="ID"),
            Option(
                ("--as-of",),
                "What stood there then: a date, an RFC 3339 instant, or so long ago, such as 12h or 7d.",
                value="TIME",
            ),
            Option(("--list",), "Only list what could be brought back."),
        ),
        examples=(
            ("sync-runner restore photos --list", "what is in quarantine"),
            ("sync-runner restore photos 2024/beach.jpg", "one file back"),
            ("sync-runner restore photos 2024 --as-of 7d", "a folder as it was a week ago"),
        ),
        exit_codes=(
            ExitCode.DONE,
            ExitCode.USAGE,
            ExitCode.ACTIONS_FAILED,
            ExitCode.LOCATION_UNAVAILABLE,
            ExitCode.INTERRUPTED,
        ),
    ),
    Command(
        name="serve",
        group=UNATTENDED,
        summary="Run tasks by their schedules, until told to stop.",
        description=(
            "Stays in the foreground and runs every task when its schedule says so, each execution in a process of "
            "its own. SIGTERM or Ctrl-C drains: nothing more is started, what runs has settings.service.drain to "
            "finish, then it is stopped and the next execution goes on from there. SIGHUP, or a change of the "
            "configuration's files, loads the configuration anew; one with faults changes nothing. One service works "
            "with one state folder."
        ),
        handler="runner.cli.command_service:serve",
        examples=(
            ("sync-runner serve", "with ./sync.yaml"),
            ("sync-runner serve -c /etc/sync-runner/sync.yaml --log-format json", "as a system service"),
        ),
        exit_codes=(ExitCode.DONE, ExitCode.USAGE, ExitCode.LOCK_HELD),
        log_level="info",
    ),
    Command(
        name="cancel",
        group=UNATTENDED,
        summary="Stop a task's running execution, and take it out of the queue.",
        description=(
            "Tells every running execution of TASK to finish the files in flight and end, whoever started it; with "
            "--now to undo them and end at once. What is done stays done, the next execution goes on from there. "
            "Executions of the task that wait in the service's queue leave it."
        ),
        handler="runner.cli.command_service:cancel",
        positionals=(_TASK,),
        options=(Option(("--now",), "Do not finish the files in flight: undo them."),),
        examples=(("sync-runner cancel photos", "the files in flight are finished"),),
    ),
    Command(
        name="pause",
        group=UNATTENDED,
        summary="Let a task's schedule rest.",
        description=(
            "The service does not start TASK by its schedule until `resume`, or until the time is over; each scheduled "
            "time is noted as skipped. Works with and without a running service. `run TASK` still runs it."
        ),
        handler="runner.cli.command_service:pause",
        positionals=(Positional("TASK", "The tasks' names.", Count.SOME, words="task"),),
        options=(
            Option(
                ("--for", "--duration"),
                "Go on by itself after this time, such as 2h or 3d.",
                value="DURATION",
            ),
            Option(("--reason",), "Why; shown wherever the rest is.", value="TEXT"),
        ),
        examples=(
            ("sync-runner pause photos --for 2d --reason 'disk is being replaced'", "goes on by itself"),
        ),
    ),
    Command(
        name="resume",
        group=UNATTENDED,
        summary="End a task's rest, after pause or after it was disabled.",
        description=(
            "The service starts TASK by its schedule again: after `pause`, or after it was disabled because it failed "
            "again and again with the same error (settings.service.disable_after)."
        ),
        handler="runner.cli.command_service:resume",
        positionals=(Positional("TASK", "The tasks' names.", Count.SOME, words="task"),),
        examples=(("sync-runner resume photos", "from the next scheduled time on"),),
    ),
    Command(
        name="unlock",
        group=UNATTENDED,
        summary="Give up the lock of an execution on another host that is gone for good.",
        description=(
            "A lock ends with its process, and one that a dead process of this host left is taken over without asking. "
            "Where several hosts share the state folder, an owner on another host cannot be proved to be gone: look "
            "there first, then give up its lock with this command. A lock that a living process of this host holds is "
            "never given up."
        ),
        handler="runner.cli.command_service:unlock",
        positionals=(_TASK,),
        examples=(("sync-runner unlock photos", "when the host that ran it is gone"),),
        exit_codes=(ExitCode.DONE, ExitCode.USAGE, ExitCode.LOCK_HELD),
    ),
    Command(
        name="bandwidth",
        group=UNATTENDED,
        summary="Give a running execution another bandwidth limit.",
        description=(
            "Within a second, for the executions of TASK that run now, whoever started them. Later executions have the "
            "configuration's limit again."
        ),
        handler="runner.cli.command_service:bandwidth",
        positionals=(
            _TASK,
            Positional("LIMIT", "20MiB/s, 80Mbit/s, unlimited, or default: the task's own limit."),
        ),
        examples=(
            ("sync-runner bandwidth photos 5MiB/s", "slower, now"),
            ("sync-runner bandwidth photos default", "as the configuration says"),
        ),
    ),
    Command(
        name="schedule",
        group=UNATTENDED,
        brief=True,
        summary="Show when tasks are due, or simulate what would happen.",
        description=(
            "`list` shows how each task is scheduled, its next five fire times in its time zone and in UTC, what clocks "
            "do to them, and what keeps it from running, with the command that ends that. `simulate` plays through a "
            "stretch of time with all tasks together: each fire time, who waits for whom (by how long executions took "
            "so far), what is skipped, where clocks change, which bandwidth limit holds; as a table, as JSON, and with "
            "--svg as a drawing. Nothing is started."
        ),
        handler="runner.cli.command_schedule:schedule",
        positionals=(
            Positional(
                "WHAT", "list (the default) or simulate.", Count.OPTIONAL, choices=("list", "simulate")
            ),
            Positional("TASK", "Only these tasks; all when not given.", Count.ANY, words="task"),
        ),
        options=(
            Option(
                ("--from",),
                "simulate: from then on, a date or a date with time in the tasks' time zone; now when not given.",
                value="DATE",
            ),
            Option(("--days",), "simulate: so many days; 30 when not given.", value="NUMBER", is_number=True),
            Option(("--svg",), "simulate: also draw a timeline into this file.", value="FILE"),
        ),
        examples=(
            ("sync-runner schedule", "the next five fire times of each task"),
            ("sync-runner schedule simulate --from 2027-01-01 --days 400 --svg year.svg", "a year and a bit"),
            ("sync-runner schedule simulate photos --json", "each fire time, for scripts"),
        ),
    ),
    Command(
        name="notify",
        group=UNATTENDED,
        summary="Try out the channels of notifications, or send the digest.",
        description=(
            "`test` sends a short message to the channels that are named, or to all that the configuration declares, and "
            "says of each whether its service took it. `digest` sends the summary of all tasks now: to the channels that "
            "are named, or to those of notifications.digest; with --print it is only shown. `serve` sends it by itself."
        ),
        handler="runner.cli.command_notify:notify",
        positionals=(
            Positional("WHAT", "test or digest.", choices=("test", "digest")),
            Positional("CHANNEL", "Only these channels.", Count.ANY),
        ),
        options=(Option(("--print",), "digest: show it and send nothing."),),
        examples=(
            ("sync-runner notify test", "does every channel work?"),
            ("sync-runner notify digest --print", "how do all tasks stand?"),
        ),
        exit_codes=(ExitCode.DONE, ExitCode.USAGE, ExitCode.ACTIONS_FAILED),
    ),
    Command(
        name="explain",
        group=UNDERSTAND,
        brief=True,
        summary="Say why a path is copied, changed, deleted or left alone.",
        description=(
            "Asks the same questions as the planner about one path and shows every answer: which filter rule "
            "decided, which comparison, and what a run would do."
        ),
        handler="runner.cli.command_plan:explain",
        positionals=(_TASK, Positional("PATH", "Relative to the location's root.", words="path")),
        examples=(
            ("sync-runner explain photos 2024/beach.jpg", "why it is (not) copied"),
            ("sync-runner explain photos -- -odd-name", "a path that starts with a dash"),
        ),
        exit_codes=(
            ExitCode.DONE,
            ExitCode.USAGE,
            ExitCode.ACTIONS_FAILED,
            ExitCode.LOCATION_UNAVAILABLE,
            ExitCode.INTERRUPTED,
        ),
    ),
    Command(
        name="status",
        group=LOOK_BACK,
        brief=True,
        summary="Show how each task stands and what to do next.",
        description="For each task: its last execution, how that ended, and the next step.",
        handler="runner.cli.command_history:status",
        exit_codes=(ExitCode.DONE, ExitCode.USAGE, ExitCode.LOCATION_UNAVAILABLE),
        examples=(("sync-runner status", "the state of all tasks"),),
    ),
    Command(
        name="history",
        group=LOOK_BACK,
        brief=True,
        summary="List past executions, or set two of them side by side.",
        description=(
            "The latest executions first, of one task or of all. With --slots the scheduled times instead, and what "
            "became of each. `compare A B` sets two executions side by side: how long each phase took, what was "
            "counted, which settings differ, and which problems and findings are new in B or gone since A. "
            "When the history database cannot be reached, this ends with 7; executions are not affected."
        ),
        handler="runner.cli.command_history:history",
        positionals=(
            Positional(
                "TASK", "Only this task's; or the word compare, before two IDs.", Count.OPTIONAL, words="task"
            ),
            Positional("ID", "compare: two executions, named as for report.", Count.ANY),
        ),
        options=(
            Option(
                ("--failed",), "Only executions that did not succeed; with --slots, times that were not met."
            ),
            Option(("--slots",), "List scheduled times and what became of them."),
            Option(
                ("--prune",),
                "Forget now what settings.retention says (serve does so once a day), and say what it was.",
            ),
            Option(
                ("--since",),
                "Only executions started since then (or times from then on): 12h, 7d, or a date such as "
                "2026-01-31 (UTC).",
                value="WHEN",
            ),
            Option(("--limit",), "At most this many; 20 when not given.", value="N", is_number=True),
        ),
        examples=(
            ("sync-runner history photos --since 7d", "the last week"),
            ("sync-runner history --failed --since 7d --json", "for monitoring"),
            ("sync-runner history photos --slots", "what became of its scheduled times"),
            ("sync-runner history compare 6741a2 latest", "what has changed since"),
        ),
        exit_codes=(ExitCode.DONE, ExitCode.USAGE, ExitCode.LOCATION_UNAVAILABLE),
    ),
    Command(
        name="freshness",
        group=LOOK_BACK,
        brief=True,
        summary="Tell which tasks have had no success for longer than their max_age.",
        description=(
            "For cron or a monitor, so that a dead service is noticed: reads small files of the state folder, and asks "
            "neither the service nor a database nor any location. Without a name it looks at all enabled tasks that "
            "declare max_age; when there is none, that is an error, for then nobody would ever hear anything. "
            "A task that has never succeeded is overdue at once, unless --grace spares it. "
            "With --quiet only overdue tasks are shown, and nothing at all when there are none. "
            "With --nagios it prints one line and ends as monitoring plugins do: 0 for OK, 2 for CRITICAL."
        ),
        handler="runner.cli.command_freshness:freshness",
        positionals=(
            Positional(
                "TASK", "Only these; all enabled ones with max_age when not given.", Count.ANY, words="task"
            ),
        ),
        options=(
            Option(
                ("--grace",),
                "Spare tasks that have never succeeded, for so long after the last change of the configuration.",
                value="DURATION",
            ),
            Option(("--nagios",), "One line and the exit codes of Nagios, Icinga, Checkmk and their kin."),
        ),
        examples=(
            ("sync-runner freshness --quiet", "for cron"),
            ("sync-runner freshness --nagios", "for a monitor"),
            ("sync-runner freshness photos --grace 2d", "a task that is new"),
        ),
        exit_codes=(ExitCode.DONE, ExitCode.USAGE, ExitCode.OVERDUE),
    ),
    Command(
        name="report",
        group=LOOK_BACK,
        brief=True,
        summary="Show an execution's report, or write it in another format.",
        description=(
            "Without a format: the outcome, all problems and findings, and the counters. With one: the "
            "report as html (one self-contained file), json, csv, junit or md, to standard output or FILE. "
            "An execution is named by its ID, by the first characters of it, or by `latest`. With "
            "--verify-chain: whether a task's reports, and the files beside them, are still as they were written, "
            "and if not, at which execution the chain breaks."
        ),
        handler="runner.cli.command_history:report",
        positionals=(Positional("ID", "An execution's ID; latest when not given.", Count.OPTIONAL),),
        options=(
            Option(
                ("--format",),
                "html, json, csv, junit or md; taken from FILE's ending when not given.",
                value="FORMAT",
                choices=REPORT_FORMATS,
            ),
            Option(("-o", "--output"), "Write to this file; - is standard output.", value="FILE"),
            Option(("--verify-chain",), "Check the chain of this task's reports.", value="TASK"),
            Option(
                ("--allowed-signers",),
                "Whose signatures count, as ssh-keygen reads it; settings.signing.allowed_signers when not given.",
                value="FILE",
            ),
            Option(
                ("--expect",),
                "The SHA-256 of a report.json that the chain has to hold: the head that an earlier check named.",
                value="DIGEST",
            ),
            Option(
                ("--since",), "Leave out breaks before this execution, which were looked into.", value="ID"
            ),
        ),
        examples=(
            ("sync-runner report", "the latest execution"),
            ("sync-runner report latest -o report.html", "a page to open or forward"),
            ("sync-runner report 6741a2 --format csv", "a table of every file"),
            ("sync-runner report --verify-chain photos", "are all reports as they were written?"),
        ),
        exit_codes=(ExitCode.DONE, ExitCode.USAGE, ExitCode.VERIFICATION_FAILED),
    ),
    Command(
        name="help",
        group=ABOUT,
        summary="Explain a command.",
        description="Help for COMMAND, or the list of all commands.",
        handler="runner.cli.command_about:show_help",
        positionals=(Positional("COMMAND", "The command to explain.", Count.OPTIONAL, words="command"),),
        examples=(("sync-runner help run", "everything about run"),),
    ),
    Command(
        name="completion",
        group=ABOUT,
        summary="Print a completion script for a shell.",
        description="Prints a script that completes commands, options and the tasks of the configuration.",
        handler="runner.cli.command_about:completion",
        positionals=(Positional("SHELL", "bash or zsh.", choices=("bash", "zsh")),),
        examples=(
            ("source <(sync-runner completion bash)", "in this bash"),
            ("sync-runner completion zsh > ~/.zfunc/_sync-runner", "for zsh, with ~/.zfunc in fpath"),
        ),
    ),
    Command(
        name="version",
        group=ABOUT,
        summary="Print the version.",
        description="Prints the version; with --json also those of Python and the operating system.",
        handler="runner.cli.command_about:version",
        examples=(("sync-runner version --json", "for bug reports"),),
    ),
)


def command_named(name: str) -> Command | None:
    """The command of that name, or None."""
    return next((command for command in COMMANDS if command.name == name), None)
