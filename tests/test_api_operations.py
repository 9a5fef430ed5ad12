"""Running the API: starting, changing champions, keys, limits, metrics, stopping; against real server processes."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core.errors import UsageError
from core.settings import Settings
from tests.api_server import PROJECT, Server, accepts, fill, living_in, running, shared_home, wait_for, write_sources
from warehouse import registry
from warehouse.runs import open_run

PATH = "/v1/catalogs/demo/predictions"
PRODUCT = {"title": "oak shelf"}
KEY = "a-key-of-enough-characters"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_home(tmp_path_factory.getbasetemp())


@pytest.fixture
def own_home(shared: Path, tmp_path: Path) -> Path:
    """A copy of the shared home that a test may change."""
    return Path(shutil.copytree(shared, tmp_path / "var"))


def crown(home: Path, version: str, event: str) -> float:
    """Make a version champion as promotion and rollback do; returns when that was recorded."""
    with living_in(home), open_run("demo", event) as run:
        registry.note(run, event, version, "a test")
    return time.monotonic()


def second_version(home: Path) -> None:
    """A challenger beside v1: the same recipe with another parameter."""
    from flows.train import train

    with living_in(home):
        train.fn("demo", "linear-fast")
        with open_run("demo", "rollback") as run:
            registry.note(run, "rolled_back", "v1", "a test")


class Asking(threading.Thread):
    """Somebody who asks all the time, and notes every answer."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.statuses: list[int | str] = []
        self.versions: list[tuple[float, str]] = []
        self.ended = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self.ended.is_set():
                try:
                    answer = client.post(PATH, json=[PRODUCT])
                except httpx.TransportError as error:
                    self.statuses.append(repr(error))
                    continue
                self.statuses.append(answer.status_code)
                if answer.status_code == 200:
                    self.versions.append((time.monotonic(), answer.json()["model_version"]))

    def first(self, version: str, after: float) -> float | None:
        """When a version was first seen after a moment."""
        return next((when for when, seen in self.versions if seen == version and when > after), None)


def slow_request(server: Server, sent: bytes, length: int, kind: str = "application/json") -> socket.socket:
    wire = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    wire.sendall(head.encode() + sent)
    return wire


def read_to_end(wire: socket.socket) -> bytes:
    """What is received until the other side has sent its answer and closes, or its last chunk."""
    received = b""
    while not received.endswith(b"\r\n0\r\n\r\n"):
        more = wire.recv(65_536)
        if not more:
            break
        received += more
    return received


def test_a_new_champion_and_a_rollback_are_served_within_five_seconds_and_no_request_is_lost(
    own_home: Path, tmp_path: Path
):
    second_version(own_home)
    with running(own_home, tmp_path / "log") as server:
        people = [Asking(server.url) for _ in range(4)]
        for somebody in people:
            somebody.start()
        wait_for(lambda: all(somebody.versions for somebody in people), 20)
        assert people[0].versions[0][1] == "v1"
        for version, event in (("v2", "promoted"), ("v1", "rolled_back")):
            recorded = crown(own_home, version, event)
            wait_for(lambda v=version, r=recorded: all(p.first(v, r) for p in people), 20)
            assert max(somebody.first(version, recorded) or 0 for somebody in people) - recorded <= 5
        for somebody in people:
            somebody.ended.set()
        for somebody in people:
            somebody.join()
        assert {status for somebody in people for status in somebody.statuses} == {200}
        assert 'aisle_model_info{catalog="demo"' in server.client.get("/metrics").text


def test_a_damaged_champion_is_reported_and_the_one_before_goes_on(own_home: Path, tmp_path: Path):
    second_version(own_home)
    (own_home / "models" / "demo" / "v2" / "intercept.npy").write_bytes(b"damaged")
    with running(own_home, tmp_path / "log") as server:
        crown(own_home, "v2", "promoted")
        wait_for(lambda: server.client.get("/v1/catalogs/demo").json()["problem"] is not None, 10)
        assert server.client.post(PATH, json=[PRODUCT]).json()["model_version"] == "v1"
        assert server.client.get("/ready").status_code == 200
        metrics = server.client.get("/metrics").text
        assert 'aisle_champion_problem{catalog="demo"} 1.0' in metrics
        assert [line for line in server.lines() if line["event"] == "champion cannot be loaded"]
        crown(own_home, "v1", "rolled_back")
        wait_for(lambda: server.client.get("/v1/catalogs/demo").json()["problem"] is None, 10)


def test_it_starts_with_no_champion_says_what_to_do_and_serves_the_first_one_unasked(tmp_path: Path):
    home = tmp_path / "var"
    with running(home, tmp_path / "log") as server:
        ready = server.client.get("/ready")
        assert ready.status_code == 503
        assert "aisle run CATALOG SOURCE" in ready.json()["hint"]
        assert server.client.get("/v2/health/ready").status_code == 503
        assert server.client.get("/health").json()["status"] == "ok"
        assert server.client.get(f"{PATH}/x").status_code == 503
        assert [line for line in server.lines() if "aisle run" in line.get("hint", "")]
        sources = write_sources(tmp_path / "sources")
        fill(home, {"newsgroups": sources["newsgroups"]})
        wait_for(lambda: server.client.get("/ready").status_code == 200, 5)
        assert server.client.post("/prediction", json={"text": "puck goalie"}).json() == {"label": "hockey"}


def test_it_starts_inside_its_own_folder_too_and_anew_when_its_code_changes(shared: Path, tmp_path: Path):
    checkout = tmp_path / "project"
    for part in ("api", "catalogs", "classifier", "core", "warehouse"):
        shutil.copytree(PROJECT / part, checkout / part, ignore=shutil.ignore_patterns("__pycache__"))
    command = ["-m", "uvicorn", "main:app", "--reload", "--no-access-log"]
    with running(shared, tmp_path / "log", command=command, folder=checkout / "api") as server:
        assert server.client.post(PATH, json=[PRODUCT]).status_code == 200
        main = checkout / "api" / "main.py"
        main.write_text(main.read_text() + "\napp.version = 'changed'\napp.openapi_schema = {'changed': True}\n")
        wait_for(lambda: b"changed" in server.client.get("/openapi.json").content, 30, server.log)


def test_aisle_serve_runs_several_workers_whose_metrics_are_one(shared: Path, tmp_path: Path):
    command = ["-c", "import sys; from api.serve import run; run(sys.argv[2], int(sys.argv[4]), 2)"]
    with running(shared, tmp_path / "log", command=command, log_level="info") as server:
        for _ in range(20):  # each on a connection of its own, so that both workers get some
            assert httpx.post(f"{server.url}{PATH}", json=[PRODUCT]).status_code == 200
        wait_for(lambda: 'aisle_products_total{catalog="demo"} 20.0' in httpx.get(f"{server.url}/metrics").text, 5)
        text = server.log.read_text()
        assert server.stop() == 0
    assert all(line.startswith("{") for line in text.splitlines()), text


def test_neither_orchestration_nor_validation_nor_training_libraries_are_loaded():
    heavy = ("prefect", "great_expectations", "evidently", "pandas", "sklearn", "pyarrow")
    script = f"import sys, api.api; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_begun_is_finished_when_it_is_told_to_stop(shared: Path, tmp_path: Path, workers: int):
    body, lines = b'[{"title":"oak shelf"}]', b'{"title":"oak"}\n{"title":"train"}'
    command = ["-m", "aisle", "serve", "--workers", str(workers)]
    with (
        running(shared, tmp_path / "log", command=command) as server,
        slow_request(server, body[:5], len(body)) as wire,
        slow_request(server, lines[:20], len(lines), "application/x-ndjson") as stream,
    ):
        begun = "aisle_http_requests_in_progress 3.0"  # these, and the one that asks for metrics
        wait_for(lambda: begun in server.client.get("/metrics").text, 10)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.log.read_text().count("Shutting down") == workers, 10)
        wait_for(lambda: not accepts(server.port), 10)  # refused, and not taken by nobody
        wire.sendall(body[5:])
        stream.sendall(lines[20:])
        answer, answers = read_to_end(wire), read_to_end(stream)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"label"' in answer
        assert answers.startswith(b"HTTP/1.1 200")
        assert answers.count(b'"label"') == 2
        assert server.stop() == 0
        assert not accepts(server.port)


def test_whoever_was_heard_before_it_stopped_is_answered(shared: Path, tmp_path: Path):
    command = ["-m", "aisle", "serve"]
    with running(shared, tmp_path / "log", command=command, log_level="info") as server:
        people = [Asking(server.url) for _ in range(8)]
        for somebody in people:
            somebody.start()
        wait_for(lambda: all(len(somebody.versions) > 5 for somebody in people), 20)
        assert server.stop() == 0
        for somebody in people:
            somebody.ended.set()
        for somebody in people:
            somebody.join()
        answered = sum(len(somebody.versions) for somebody in people)
        heard = [line["status"] for line in server.lines() if line.get("path") == PATH]
    assert heard == [200] * answered
    assert {status for somebody in people for status in somebody.statuses if isinstance(status, int)} == {200}


def test_a_key_is_asked_for_where_there_are_keys(shared: Path, tmp_path: Path):
    with running(shared, tmp_path / "log", api_keys=f"another-key-of-the-same-kind, {KEY}") as server:
        client = server.client
        for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer"}, {"Authorization": f"Basic {KEY}"}):
            for method, path in (("POST", PATH), ("GET", "/metrics"), ("GET", "/v1/catalogs"), ("POST", "/prediction")):
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == 401, (headers, path)
                assert answer.headers["www-authenticate"] == "Bearer"
        for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"Authorization": f"bearer {KEY}"}):
            assert client.post(PATH, json=[PRODUCT], headers=headers).status_code == 200
        for path in ("/health", "/ready", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200
    assert KEY not in (tmp_path / "log").read_text()


def address_of_this_machine() -> str | None:
    """An address of ours that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        found = str(probe.getsockname()[0])
    return None if found.startswith("127.") or found == "0.0.0.0" else found


def test_beyond_loopback_nobody_is_answered_without_keys_unless_that_is_wanted(shared: Path, tmp_path: Path):
    address = address_of_this_machine()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    with running(shared, tmp_path / "log", host="0.0.0.0") as server:
        outside = f"http://{address}:{server.port}"
        refused = httpx.post(f"{outside}{PATH}", json=[PRODUCT])
        assert refused.status_code == 401
        assert "AISLE_API_KEYS" in refused.json()["hint"]
        assert httpx.get(f"{outside}/health").status_code == 200
        assert server.client.post(PATH, json=[PRODUCT]).status_code == 200
    with running(shared, tmp_path / "log2", host="0.0.0.0", api_open="true") as server:
        assert httpx.post(f"http://{address}:{server.port}{PATH}", json=[PRODUCT]).status_code == 200


def test_aisle_serve_does_not_start_beyond_loopback_without_keys(tmp_path: Path):
    from api.serve import require_keys

    require_keys("127.0.0.1", Settings())
    require_keys("::1", Settings())
    require_keys("0.0.0.0", Settings(api_open=True))
    require_keys("0.0.0.0", Settings(api_keys=KEY))
    (tmp_path / "keys").write_text(f"{KEY}\n")
    require_keys("0.0.0.0", Settings(api_keys_file=tmp_path / "keys"))
    with pytest.raises(UsageError, match="AISLE_API_KEYS"):
        require_keys("0.0.0.0", Settings())
    with pytest.raises(UsageError, match="fewer than 16 characters"):
        require_keys("127.0.0.1", Settings(api_keys="short"))
    with pytest.raises(UsageError, match="cannot be read"):
        require_keys("127.0.0.1", Settings(api_keys_file=tmp_path / "nowhere"))


@pytest.fixture(scope="module")
def strict(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with small limits."""
    limits = {"api_max_body_mib": "1", "api_max_products": "10", "api_max_text_chars": "100", "api_timeout_s": "2"}
    with running(shared, tmp_path_factory.mktemp("strict") / "log", api_max_waiting_mib="8", **limits) as server:
        yield server


def test_limits_are_answered_with_problem_documents(strict: Server):
    cases = {
        413: [b"[" + b" " * (1 << 20) + b"]", b"[" + b",".join([b'{"title":"a"}'] * 11) + b"]"],
        422: [b'[{"title":"' + b"a" * 101 + b'"}]'],
    }
    for status, bodies in cases.items():
        for body in bodies:
            answer = strict.client.post(PATH, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == answer.json()["status"] == status
            assert answer.headers["content-type"] == "application/problem+json"


def test_a_compressed_body_is_refused(strict: Server):
    answer = strict.client.post(PATH, content=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-ndjson"}
    assert strict.client.post(PATH, content=b"\x1f\x8b", headers=headers).status_code == 415


def test_a_body_that_does_not_arrive_is_given_up_while_others_are_served(strict: Server):
    with slow_request(strict, b"[", 100) as wire:
        assert strict.client.post(PATH, json=[PRODUCT]).status_code == 200
        assert b"408" in wire.recv(65_536).partition(b"\r\n")[0]


def test_a_stream_that_stops_ends_with_a_problem(strict: Server):
    with socket.create_connection(("127.0.0.1", strict.port), timeout=20) as wire:
        head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000\r\n\r\n"
        wire.sendall(head.encode() + b'{"title":"a"}\n')
        received = read_to_end(wire)
    assert b'"status":408' in received
    assert b'"line":1' in received


def test_more_bodies_than_fit_in_memory_wait_outside(strict: Server):
    half = b"[" + b" " * 950_000
    wires = [slow_request(strict, half, 1_000_000) for _ in range(9)]
    try:
        answers: list[httpx.Response] = []
        body = b" " * 900_000 + b'[{"title":"a"}]'
        wait_for(lambda: answers.append(strict.client.post(PATH, content=body)) or answers[-1].status_code == 503, 1.5)
        assert answers[-1].headers["retry-after"] == "1"
    finally:
        for wire in wires:
            wire.close()
    wait_for(lambda: strict.client.post(PATH, content=body).status_code == 200, 10)


def test_a_cut_connection_is_nobodys_error(strict: Server):
    for _ in range(5):
        slow_request(strict, b"[", 100).close()
    assert strict.client.post(PATH, json=[PRODUCT]).status_code == 200
    wait_for(lambda: 'status="499"' in strict.client.get("/metrics").text, 5)
    assert not [line for line in strict.lines() if line["level"] == "error"]


def test_who_asks_too_often_is_told_when_to_come_back(shared: Path, tmp_path: Path):
    with running(shared, tmp_path / "log", api_rate_per_s="5") as server:
        answers = [server.client.post(PATH, json=[PRODUCT]) for _ in range(30)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert server.client.get("/health").status_code == 200


def test_metrics_count_what_was_answered(shared: Path, tmp_path: Path):
    with running(shared, tmp_path / "log") as server:
        server.client.post(PATH, json=[PRODUCT] * 100)
        server.client.post(PATH, content=b"{")
        server.client.request("PROPFIND", "/nowhere")
        text = server.client.get("/metrics").text
    route = 'route="/v1/catalogs/{name}/predictions"'
    for expected in (
        f'aisle_http_requests_total{{method="POST",{route},status="200"}} 1.0',
        f'aisle_http_errors_total{{{route},status="422"}} 1.0',
        f"aisle_http_request_seconds_count{{{route}}} 2.0",
        'aisle_http_requests_total{method="other",route="none",status="404"} 1.0',
        'aisle_products_total{catalog="demo"} 100.0',
        'aisle_confidence_count{catalog="demo"} 100.0',
        "aisle_labels_total{",
        "aisle_decisions_total{",
        'version="v1"} 1.0',
    ):
        assert expected in text, f"{expected}\n{text}"


def test_many_values_are_observed_as_one_after_the_other():
    from api.metrics import BatchHistogram

    amounts = [0.0, 0.1, 0.1000001, 0.5, 0.95, 1.0, 2.0]
    histograms = [BatchHistogram("shares", "Shares.", ["of"], buckets=[0.1, 0.5, 1.0], registry=None) for _ in "ab"]
    together, alone = (histogram.labels("a") for histogram in histograms)
    together.observe_all(amounts)
    together.observe_all([])
    for amount in amounts:
        alone.observe(amount)
    (at_once,), (one_by_one,) = (histogram.collect() for histogram in histograms)
    found, wanted = (
        [
            (sample.name, sample.labels, sample.value)
            for sample in family.samples
            if not sample.name.endswith("_created")
        ]
        for family in (at_once, one_by_one)
    )
    assert found == wanted
    assert ("shares_count", {"of": "a"}, 7.0) in found


def test_an_unexpected_fault_is_a_problem_document_with_the_id_of_the_log_line(shared: Path, tmp_path: Path):
    home = Path(shutil.copytree(shared, tmp_path / "var"))
    with running(home, tmp_path / "log") as server:
        (home / "warehouse.duckdb").write_bytes(b"not a database")
        answer = server.client.get(f"{PATH}/x")
        assert answer.status_code >= 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert str(home) not in answer.text
        assert answer.json()["request_id"] in (tmp_path / "log").read_text()
        assert server.client.post(PATH, json=[PRODUCT]).status_code == 200
