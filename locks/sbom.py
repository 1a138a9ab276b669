"""The bill of materials: what is installed with sync-runner, as CycloneDX 1.6 in JSON, made from locks/run.txt.

`python3 -m locks.sbom > locks/sbom.cdx.json` writes it; `.ci/lock` does that after it wrote the locks. The same lock
always gives the same bytes: there is no time and no random number in it, so that a test can tell a stale one.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from typing import Any

from locks.lock import ROOT, Locked, normalised, read_lock

LOCK = "locks/run.txt"


def bill_of_materials(project: dict[str, Any], version: str, lock: bytes) -> dict[str, Any]:
    """The bill: one component for each package of the lock, who needs whom, and the lock's own digest.

    Digests of packages stay in the lock, which names one for each file of a package; a component could not tell which
    of them is meant.

    Args:
        project: the table `[project]` of pyproject.toml.
        version: of sync-runner.
        lock: locks/run.txt.
    """
    packages = read_lock(lock.decode("utf-8"))
    references = {package.name: f"pkg:pypi/{package.name}@{package.version}" for package in packages}
    root = f"pkg:pypi/{project['name']}@{version}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": project["name"],
                "version": version,
                "description": project["description"],
                "licenses": [{"license": {"id": project["license"]}}],
                "purl": root,
                "externalReferences": [
                    {
                        "type": "other",
                        "comment": "the lock that this was made from; it holds the digests of all packages",
                        "url": LOCK,
                        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(lock).hexdigest()}],
                    }
                ],
            }
        },
        "components": [component(package, references[package.name]) for package in packages],
        "dependencies": dependencies(root, packages, references),
    }


def component(package: Locked, reference: str) -> dict[str, Any]:
    """One package."""
    described: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference,
        "name": package.name,
        "version": package.version,
        "purl": reference,
    }
    if package.marker is not None:
        described["properties"] = [{"name": "python:environment-marker", "value": package.marker}]
    return described


def dependencies(root: str, packages: tuple[Locked, ...], references: dict[str, str]) -> list[dict[str, Any]]:
    """Who needs whom. What an input of the lock asks for, and not a package, is needed by sync-runner itself."""
    needs: dict[str, set[str]] = {reference: set() for reference in (root, *references.values())}
    for package in packages:
        for source in package.needed_by:
            needs[references.get(normalised(source), root)].add(references[package.name])
    return [{"ref": reference, "dependsOn": sorted(needed)} for reference, needed in sorted(needs.items())]


def current() -> str:
    """The bill of this very tree, as it has to stand in locks/sbom.cdx.json."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    source = (ROOT / "runner" / "__init__.py").read_text("utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    assert found is not None, "runner/__init__.py tells no version"
    bill = bill_of_materials(project, found[1], (ROOT / LOCK).read_bytes())
    return json.dumps(bill, indent=2) + "\n"


if __name__ == "__main__":
    print(current(), end="")
