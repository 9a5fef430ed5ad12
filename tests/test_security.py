"""What is known against packages is asked and told, what is installed is listed, and no secret lies in the project."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.test_packaging import lock
from tests.web import answering

PROJECT = Path(__file__).resolve().parent.parent


def known_of(package: str) -> dict[str, Any]:
    """A flaw of every version before 999, as OSV describes one."""
    events = [{"introduced": "0"}, {"fixed": "999"}]
    affected = {
        "package": {"name": package, "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {"id": "PYSEC-2026-1", "summary": "a flaw", "modified": "2026-01-01T00:00:00Z", "affected": [affected]}


def locked(level: str) -> list[Requirement]:
    """What a lock names, for all systems and versions of Python."""
    text = (PROJECT / "requirements" / f"{level}.txt").read_text()
    return [Requirement(line) for line in re.findall(r"^([a-z0-9].*==.*?) \\$", text, flags=re.MULTILINE)]


@contextmanager
def osv(flawed: str | None, asked: set[str]) -> Iterator[str]:
    """A server on loopback that is asked as OSV is; gives the address."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
            asked.add(name)
            body = json.dumps({"vulns": [known_of(name)]} if name == flawed else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with answering(Answers) as address:
        yield f"{address}/v1/query"


def audit(address: str) -> subprocess.CompletedProcess[str]:
    command = [PROJECT / "scripts" / "audit", "--osv-url", address]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_locked_package_is_asked_about_and_a_known_flaw_fails_the_audit():
    asked: set[str] = set()
    with osv("jinja2", asked) as address:
        done = audit(address)
    assert done.returncode == 1, done.stderr
    assert f"jinja2 {lock('dev')['jinja2']}: PYSEC-2026-1, mended in 999" in done.stdout
    assert "1 known vulnerabilities" in done.stdout
    here = [package for package in locked("dev") if package.marker is None or package.marker.evaluate()]
    assert asked == {package.name for package in here} | {"uv"}


@pytest.mark.slow
def test_an_audit_that_finds_nothing_passes_and_says_how_many_were_asked_about():
    with osv(None, set()) as address:
        done = audit(address)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 known vulnerabilities" in done.stdout


def test_an_audit_that_nobody_answers_says_loudly_that_nothing_was_asked():
    done = audit("http://127.0.0.1:9/v1/query")
    assert done.returncode == 0
    assert "audit: SKIPPED, nothing was asked" in done.stderr
    assert "hint:" in done.stderr
    assert "known vulnerabilities" not in done.stdout


def test_what_is_locked_for_an_image_is_listed(tmp_path: Path):
    subprocess.run([PROJECT / "scripts" / "sbom", tmp_path], check=True, capture_output=True)
    for level in ("api", "pipeline"):
        listed = json.loads((tmp_path / f"{level}.cdx.json").read_text())
        assert listed["bomFormat"] == "CycloneDX"
        assert listed["metadata"]["component"]["name"] == "aisle"
        found = sorted(f"{entry['name']}=={entry['version']}" for entry in listed["components"])
        assert found == sorted(f"{package.name}{package.specifier}" for package in locked(level))


SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30}|\bxox[baprs]-[0-9]|"
    r"hooks\.slack\.com/services/T[0-9A-Z]{8}|://[^/\s:@\"'{}$<>]+:(?!secret)[^/\s:@\"'{}$<>]{6,}@"
)


@pytest.mark.parametrize(
    "text", ["-----BEGIN RSA PRIVATE KEY", "AKIA" + "A" * 16, "ghp_" + "a" * 36, "postgres://user:hunter22@host/db"]
)
def test_a_secret_would_be_recognised(text: str):
    assert SECRETS.search(text)


def test_no_file_of_the_project_holds_a_secret():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        path = PROJECT / name
        if path == Path(__file__) or not path.is_file():
            continue
        found = SECRETS.search(path.read_bytes().decode(errors="ignore"))
        assert not found, f"{name}: {found and found[0]}"
