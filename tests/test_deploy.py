"""The images, compose.yaml and deploy/: valid by the schemas of those who read them, and each part fits the others."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonpatch
import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml
from prefect.utilities.templating import apply_values

from aisle.cli import app
from catalogs import registry
from core.settings import Settings
from docs import costs, generate
from tests.api_server import running
from tests.commands import process

PROJECT = Path(__file__).resolve().parent.parent
BASE = PROJECT / "deploy" / "kubernetes" / "base"
S3 = PROJECT / "deploy" / "kubernetes" / "s3"
UNITS = PROJECT / "deploy" / "systemd"
KUBERNETES = ("1.32", "1.37")
"""The oldest release that the manifests are held against, and the newest."""
VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
NOBODY = 10001

Doc = dict[str, Any]


def documents(path: Path) -> list[Doc]:
    return [doc for doc in yaml.safe_load_all(path.read_text(encoding="utf-8")) if doc]


def base() -> list[Doc]:
    names = documents(BASE / "kustomization.yaml")[0]["resources"]
    return [doc for name in names for doc in documents(BASE / name)]


def with_s3() -> list[Doc]:
    """What the overlay makes of the base: its deletions, and its JSON patches (RFC 6902)."""
    found = base()
    for patch in documents(S3 / "kustomization.yaml")[0]["patches"]:
        content = yaml.safe_load((S3 / patch["path"]).read_text(encoding="utf-8"))
        if isinstance(content, dict):
            assert content["$patch"] == "delete"
            kept = [doc for doc in found if named(doc) != named(content)]
            assert len(kept) == len(found) - 1, f"{patch['path']} deletes nothing"
            found = kept
        else:
            target = (patch["target"]["kind"], patch["target"]["name"])
            (place,) = [i for i, doc in enumerate(found) if named(doc) == target]
            found[place] = jsonpatch.apply_patch(found[place], content)
    return found


def named(doc: Doc) -> tuple[str, str]:
    return doc["kind"], doc["metadata"]["name"]


def one(docs: list[Doc], kind: str, name: str = "") -> Doc:
    (found,) = [doc for doc in docs if doc["kind"] == kind and name in ("", doc["metadata"]["name"])]
    return found


def pod_job() -> Doc:
    """The Job that the worker of a Prefect pool makes of the template's defaults, filled in as Prefect does it."""
    template = json.loads((BASE.parent / "work-pool.json").read_text())
    known = {
        name: value["default"] for name, value in template["variables"]["properties"].items() if "default" in value
    }
    known |= {"command": ["prefect", "flow-run", "execute"], "name": "a-run", "labels": {"prefect.io/flow": "nightly"}}
    known["env"] = [{"name": name, "value": value} for name, value in known["env"].items()]
    return apply_values(template["job_configuration"]["job_manifest"], known)


def templates(docs: list[Doc]) -> Iterator[Doc]:
    """Every pod template: metadata and spec."""
    yield one(docs, "Deployment")["spec"]["template"]
    yield one(docs, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]
    yield pod_job()["spec"]["template"]


# --- The images


def stages() -> dict[str, str]:
    """What the Dockerfile says of each stage, continued lines as one."""
    text = re.sub(r"\\\n\s*", "", (PROJECT / "Dockerfile").read_text())
    parts = re.split(r"^FROM \S+ AS (\w+(?:-\w+)?)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def run_by_default(stage: str) -> list[str]:
    (words,) = re.findall(r"^CMD (\[.*\])$", stages()[stage], re.MULTILINE)
    return json.loads(words)


def health_check() -> list[str]:
    (words,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", stages()["api"], re.MULTILINE)
    return json.loads(words)


def parse(words: list[str]) -> dict[str, Any]:
    """The options of a command line, as the command itself reads them."""
    command: Any = typer.main.get_command(app)
    return command.commands[words[0]].make_context(words[0], words[1:]).params


def test_what_containers_and_units_start_are_commands_with_options_that_there_are(compose: Doc):
    lines = [run_by_default("api"), compose["services"]["api"]["command"]]
    lines += [template["spec"]["containers"][0]["args"] for template in list(templates(base()))[:2]]
    for path in UNITS.glob("*.service"):
        (start,) = re.findall(r"^ExecStart=/opt/aisle/.venv/bin/aisle (.*)$", path.read_text(), re.MULTILINE)
        lines.append(start.split())
    assert {words[0] for words in lines} == {"serve", "run", "maintain"}
    for words in lines:
        assert parse(words)
    assert run_by_default("pipeline") == ["--help"]
    with pytest.raises(Exception, match="No such option"):
        parse(["serve", "--hots", "0.0.0.0"])


def set_in_the_images() -> dict[str, str]:
    """The AISLE_ settings of the images, but for the home."""
    (settings,) = re.findall(r"^ENV (.*)$", stages()["runtime"], re.MULTILINE)
    return {name: value for name, value in re.findall(r"(AISLE_\w+)=(\S+)", settings) if name != "AISLE_HOME"}


def test_a_server_in_a_container_is_reached_from_outside_and_says_whom_it_answers(tmp_path: Path):
    settings = {name.removeprefix("AISLE_").lower(): value for name, value in set_in_the_images().items()}
    assert settings.pop("api_host") == "0.0.0.0"
    command = ["-m", "aisle", "serve"]
    with running(tmp_path / "var", tmp_path / "log", command=command, host="0.0.0.0", **settings) as server:
        assert server.client.get("/v1/catalogs").status_code == 200
    assert "whoever reaches this port is answered" in (tmp_path / "log").read_text()
    keys = settings | {"api_keys": "a-key-of-sixteen-characters"}
    with running(tmp_path / "var", tmp_path / "log2", command=command, host="0.0.0.0", **keys) as server:
        assert server.client.get("/v1/catalogs").status_code == 401
    assert "whoever" not in (tmp_path / "log2").read_text()


def test_where_others_are_meant_to_reach_it_a_server_does_not_start_without_keys(compose: Doc, tmp_path: Path):
    assert compose["services"]["api"]["environment"]["AISLE_API_OPEN"] == "false"
    container = one(base(), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "AISLE_API_OPEN", "value": "false"} in container["env"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AISLE_")}
    own = {**clean, **set_in_the_images(), "AISLE_API_OPEN": "false", "AISLE_HOME": str(tmp_path)}
    refused = process(*run_by_default("api"), env=own)
    assert refused.returncode == 2
    assert "listening on 0.0.0.0" in refused.stderr
    assert "set AISLE_API_KEYS" in refused.stderr


def test_the_health_check_tells_a_server_that_lives_from_one_that_does_not(compose: Doc, tmp_path: Path):
    words = health_check()
    assert compose["services"]["api"]["healthcheck"]["test"] == ["CMD", *words]
    assert "HEALTHCHECK" not in "".join(text for name, text in stages().items() if name != "api")

    def ask(port: int) -> int:
        command = [sys.executable, *(word.replace(":8000/", f":{port}/") for word in words[1:])]
        return subprocess.run(command, capture_output=True, check=False).returncode

    with running(tmp_path / "var", tmp_path / "log", command=["-m", "aisle", *run_by_default("api")]) as server:
        assert ask(server.port) == 0
    assert ask(server.port) != 0


def test_without_docker_and_podman_the_images_script_says_what_is_missing(tmp_path: Path):
    for name in ("docker", "podman"):  # as where there is only the client
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [PROJECT / "scripts" / "images"], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing was built" in done.stderr
    assert "hint: start Docker, or install Podman" in done.stderr


# --- Compose


@pytest.fixture(scope="module")
def compose() -> Doc:
    return documents(PROJECT / "compose.yaml")[0]


def test_compose_is_valid_by_the_specifications_schema(compose: Doc):
    schema = json.loads((PROJECT / "tests" / "schemas" / "compose-spec.json").read_text())
    checker = jsonschema.Draft7Validator(schema)
    assert [f"{error.json_path}: {error.message}" for error in checker.iter_errors(compose)] == []
    broken = compose | {"services": compose["services"] | {"api": {"port": ["8000:8000"]}}}
    assert not checker.is_valid(broken), "the schema would let anything through"


def test_no_secret_of_compose_has_a_default(compose: Doc):
    text = (PROJECT / "compose.yaml").read_text()
    taken = re.findall(r"\$\{(\w+)([^}]*)\}", re.sub(r"\$\$\{", "{", text))
    secrets = [(name, rest) for name, rest in taken if re.search("PASSWORD|KEY|SECRET", name)]
    assert {name for name, _ in secrets} >= {"POSTGRES_PASSWORD", "PREFECT_PASSWORD", "AISLE_API_KEYS"}
    for name, rest in secrets:
        if name.startswith("AWS_"):  # MinIO's: empty without the profile, and refused by the service itself
            assert rest == ":-"
            assert f"set {name} in .env" in "".join(compose["services"]["minio"]["command"])
        else:
            assert rest.startswith(":?set it in .env"), name
    told = (PROJECT / "deploy" / "compose.env.example").read_text()
    lines = dict(line.lstrip("#").split("=", 1) for line in told.splitlines() if re.match(r"#?[A-Z_]+=", line))
    assert {name for name, _ in secrets} <= lines.keys()
    assert not any(value for name, value in lines.items() if re.search("PASSWORD|KEY|SECRET", name))
    assert "/.env" in (PROJECT / ".gitignore").read_text().splitlines()


def test_compose_runs_as_nobody_special_and_writes_to_volumes_only(compose: Doc):
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service
        assert (service["user"] != "0:0") or service["network_mode"] == "none", name
        assert not any("docker.sock" in str(volume) for volume in service.get("volumes", [])), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_composes_images_are_pinned_and_long_running_services_are_watched(compose: Doc):
    ends = {
        needed
        for service in compose["services"].values()
        for needed, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    } | {"bucket"}
    for name, service in compose["services"].items():
        image = re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", service["image"])
        tag = image.partition(":")[2]
        assert re.search(r"\d+\.\d+|RELEASE\.", tag), f"{name}: {image}"
        if "build" in service:
            assert tag == VERSION
            assert f"AS {service['build']['target']}\n" in (PROJECT / "Dockerfile").read_text()
        assert name in ends or {"healthcheck", "restart"} <= service.keys(), name
        for needed, how in service.get("depends_on", {}).items():
            healthy = how["condition"] == "service_healthy"
            assert ("healthcheck" in compose["services"][needed]) if healthy else needed in ends
        declared = compose["volumes"].keys() | compose["networks"].keys()
        assert set(service.get("networks", [])) <= declared
        mounts = [volume.split(":")[0] for volume in service.get("volumes", [])]
        assert {mount for mount in mounts if re.fullmatch(r"\w+", mount)} <= declared


def test_compose_starts_the_pool_that_its_deployments_name(compose: Doc):
    entries = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    pools = {entry["work_pool"]["name"] for entry in entries if entry["name"].endswith("-compose")}
    command = compose["services"]["worker"]["command"]
    assert pools == {command[command.index("--pool") + 1]}
    assert "work-pool create compose" in compose["services"]["deployments"]["command"][0]


# --- Kubernetes


@pytest.mark.parametrize("release", KUBERNETES)
@pytest.mark.parametrize("made", [base, with_s3, lambda: [pod_job()]], ids=["base", "s3", "work-pool"])
def test_manifests_are_valid_by_kubernetes_schemas(release: str, made: Any):
    for doc in made():
        kubernetes_validate.validate(doc, release, strict=True)


def test_a_manifest_that_is_wrong_would_be_noticed():
    doc = one(base(), "Deployment")
    doc["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(doc, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("folder", [BASE, S3], ids=lambda path: path.name)
def test_every_file_of_a_kustomization_is_there_and_none_is_forgotten(folder: Path):
    (content,) = documents(folder / "kustomization.yaml")
    assert content["kind"] == "Kustomization"
    known = {"apiVersion", "kind", "namespace", "labels", "resources", "configMapGenerator", "images", "patches"}
    assert content.keys() <= known
    files = [*content["resources"], *(patch["path"] for patch in content.get("patches", []))]
    files += [name for entry in content["configMapGenerator"] for name in entry.get("files", [])]
    for name in files:
        assert (folder / name).exists(), name
    assert {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"} <= set(files)


def test_kustomize_gives_every_container_an_image_of_this_version():
    images = {entry["name"]: entry for entry in documents(BASE / "kustomization.yaml")[0]["images"]}
    used = {c["image"] for template in list(templates(base()))[:2] for c in template["spec"]["containers"]}
    assert used == set(images)
    assert {entry["newTag"] for entry in images.values()} == {VERSION}
    for pool in ("docker", "kubernetes"):
        template = json.loads((PROJECT / "deploy" / pool / "work-pool.json").read_text())
        assert template["variables"]["properties"]["image"]["default"].endswith(f"aisle:{VERSION}")


@pytest.mark.parametrize("made", [base, with_s3])
def test_pods_have_no_more_rights_than_they_need(made: Any):
    docs = made()
    assert one(docs, "ServiceAccount")["automountServiceAccountToken"] is False
    for template in templates(docs):
        spec = template["spec"]
        assert spec["serviceAccountName"] == one(docs, "ServiceAccount")["metadata"]["name"]
        assert spec["automountServiceAccountToken"] is False
        around = spec["securityContext"]
        assert (around["runAsNonRoot"], around["runAsUser"], around["fsGroup"]) == (True, NOBODY, NOBODY)
        assert around["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
    assert f"USER {NOBODY}:{NOBODY}" in (PROJECT / "Dockerfile").read_text()


@pytest.mark.parametrize("made", [base, with_s3])
def test_what_a_pod_mounts_and_reads_is_there(made: Any):
    docs = made()
    maps = {entry["name"] for entry in documents(BASE / "kustomization.yaml")[0]["configMapGenerator"]}
    claims = {doc["metadata"]["name"] for doc in docs if doc["kind"] == "PersistentVolumeClaim"}
    for template in list(templates(docs))[:2]:  # a pool's pods are the base's, or a template of one's own
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        for volume in volumes.values():
            assert volume.get("configMap", {"name": "aisle-settings"})["name"] in maps
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
        (container,) = template["spec"]["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts.keys() == volumes.keys()
        assert mounts["home"] == "/var/lib/aisle"
        assert {source["configMapRef"]["name"] for source in container["envFrom"]} <= maps
    assert bool(claims) == (made is base), "a bucket needs no volume"


def test_services_probes_and_policies_find_the_pods():
    docs = base()
    api = one(docs, "Deployment")
    labels, (container,) = api["spec"]["template"]["metadata"]["labels"], api["spec"]["template"]["spec"]["containers"]
    flows = one(docs, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    service = one(docs, "Service")
    assert api["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for selector in (service["spec"]["selector"], one(docs, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= labels.items()
        assert not selector.items() <= flows.items(), "a night's pod must get no requests"
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
    assert str(ports["http"]) == container["args"][container["args"].index("--port") + 1]
    (rule,) = one(docs, "Ingress")["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert (backend["name"], backend["port"]["name"]) == (
        service["metadata"]["name"],
        service["spec"]["ports"][0]["name"],
    )
    scaled = one(docs, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == named(api)
    paths = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {probe["path"] for probe in paths.values()} == {"/health", "/ready"}
    assert paths["readiness"] == {"path": "/ready", "port": "http"}
    policies = {doc["metadata"]["name"]: doc["spec"] for doc in docs if doc["kind"] == "NetworkPolicy"}
    chosen = {name: spec["podSelector"]["matchLabels"] for name, spec in policies.items()}
    assert chosen["aisle"].items() <= labels.items() & flows.items() & pod_labels().items()
    assert chosen["aisle-api"].items() <= labels.items()
    assert chosen["aisle-flows"].items() <= flows.items() & pod_labels().items()


def pod_labels() -> Doc:
    return pod_job()["spec"]["template"]["metadata"]["labels"]


def test_the_server_ends_before_its_pod_is_killed():
    from api.serve import GRACE_S

    spec = one(base(), "Deployment")["spec"]["template"]["spec"]
    pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] > GRACE_S + pause
    stop = re.search(r"^TimeoutStopSec=(\d+)$", (UNITS / "aisle-api.service").read_text(), re.MULTILINE)
    assert stop
    assert int(stop.group(1)) > GRACE_S


def test_what_manifests_set_are_settings_and_their_catalogue_is_one():
    known = {f"AISLE_{name.upper()}" for name in Settings.model_fields}
    places = [*BASE.parent.rglob("*.yaml"), *UNITS.iterdir(), *PROJECT.glob("*.yaml"), PROJECT / "Dockerfile"]
    places += [*(PROJECT / "deploy").glob("*/work-pool.json"), PROJECT / "deploy" / "compose.env.example"]
    # What compose.yaml itself takes from .env (${AISLE_IMAGE:-…}) is no setting of Aisle's.
    named_there = {name for path in places for name in re.findall(r"(?<!\{)\bAISLE_[A-Z_]+\b", path.read_text())}
    assert named_there >= {"AISLE_HOME", "AISLE_CATALOGS", "AISLE_API_HOST", "AISLE_API_KEYS_FILE", "AISLE_CACHE"}
    assert named_there <= known
    assert registry.check(BASE / "catalogs" / "shop.toml").title == "Our shop"


def test_a_pools_command_reaches_prefect_past_the_images_entrypoint():
    job = pod_job()["spec"]["template"]["spec"]["containers"][0]
    docker = json.loads((PROJECT / "deploy" / "docker" / "work-pool.json").read_text())["job_configuration"]
    assert job["command"] == docker["container_create_kwargs"]["entrypoint"] == ["env"]
    assert job["args"] == ["prefect", "flow-run", "execute"]


# --- systemd


@pytest.mark.parametrize(
    "unit", sorted(path.name for path in UNITS.glob("*.*") if path.suffix in {".service", ".timer"})
)
def test_units_are_valid(unit: str, tmp_path: Path):
    """By systemd itself; the programs that they name are there only where Aisle was installed so."""
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("no systemd-analyze on this machine: units are not checked")
    for path in UNITS.glob("aisle*.*"):
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/aisle/.venv/bin/aisle", "/bin/true"))
    instance = unit.replace("@.", "@shop.")
    done = subprocess.run([verify, "verify", tmp_path / instance], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_timer_starts_a_service_and_every_service_is_held_in():
    services = {path.stem for path in UNITS.glob("*.service")}
    assert {path.stem for path in UNITS.glob("*.timer")} <= services
    for path in UNITS.glob("*.service"):
        text = path.read_text()
        for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "User=aisle", "StateDirectory=aisle", "MemoryMax="):
            assert line in text, f"{path.name}: {line}"


# --- What it costs


def test_the_page_is_what_the_generator_writes():
    assert (PROJECT / "docs" / "deploy.md").read_text() == generate.deploy_page(), "run scripts/docs"


def test_costs_follow_from_the_largest_run_and_the_price(tmp_path: Path):
    rows = [
        {"way": "Aisle linear-fast, 1,250,000", "rows": 1_250_000, "rate": 10_000.0, "peak_mib": 1_500.0},
        {"way": "Aisle linear-fast, 100,000", "rows": 100_000, "rate": 1.0, "peak_mib": 900.0},
        {"way": "plain: words", "rows": 1_250_000, "rate": 1.0, "peak_mib": 1.0},
    ]
    results = tmp_path / "bulk.json"
    results.write_text(json.dumps({"rows": rows, "machine": {"cores_used": 2}}))
    lines = costs.table(costs.measured(results), price=0.36).splitlines()
    cells = [cell.strip() for line in lines for cell in line.split("|")[1:-1] if line.startswith("| 100,000,000")]
    # 100 M / 10,000 a second = 2.78 h on 2 cores = 5.56 vCPU hours, at 0.36: 2.00
    assert cells[:7] == ["100,000,000", "`linear-fast`", "10,000", "2.78", "5.56", "2.000", "60.00"]
    assert cells[9] == "not measured"


def test_without_a_measurement_no_figure_is_made_up(tmp_path: Path):
    text = costs.table(costs.measured(tmp_path / "none.json"))
    assert text.count("not measured") == 6
