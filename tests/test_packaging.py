"""What is installed, and how: the locks, the scripts, the wheel, the deployments and the images' recipe."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from importlib.util import cache_from_source
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from classifier import compiled
from tests.api_server import running, shared_home
from tests.conftest import can_build

PROJECT = Path(__file__).resolve().parent.parent
LEVELS = ("api", "pipeline", "dev")
SCRIPTS = [*sorted((PROJECT / "scripts").iterdir()), PROJECT / ".ci" / "run"]
# Written in two parts: this file is searched too.
REGISTRY_HOSTS = ("pypi" + ".org", "python" + "hosted.org", "pypi" + ".python.org")
NOT_OURS = {".git", ".venv", "var", "dist", "build"}


def lock(level: str) -> dict[str, str]:
    """Locked versions by package."""
    text = (PROJECT / "requirements" / f"{level}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", text, flags=re.MULTILINE))


def pyproject() -> dict:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())


@pytest.mark.parametrize("level", ["uv", "image", *LEVELS])
def test_every_locked_package_has_a_hash_and_no_host(level: str):
    text = (PROJECT / "requirements" / f"{level}.txt").read_text()
    blocks = re.split(r"\n(?=[a-z0-9])", text)
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text
    assert "--index" not in text


def test_each_lock_is_part_of_the_next():
    api, pipeline, dev = (lock(level).items() for level in LEVELS)
    assert api <= pipeline <= dev


def test_the_api_installs_without_orchestration_validation_and_drift_libraries():
    flows_only = {"prefect", "great-expectations", "evidently", "deltalake"}
    assert lock("api").keys().isdisjoint({*flows_only, "pandas", "sqlalchemy"})
    assert lock("pipeline").keys() >= flows_only


@pytest.mark.parametrize("level", LEVELS)
def test_the_locks_hold_what_the_project_asks_for(level: str):
    project = pyproject()["project"]
    wanted = list(project["dependencies"])
    for extra in LEVELS[1 : LEVELS.index(level) + 1]:
        wanted += [line for line in project["optional-dependencies"][extra] if not line.startswith("aisle[")]
    locked = lock(level)
    for requirement in map(Requirement, wanted):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in locked, f"{name} is not in requirements/{level}.txt: run scripts/lock"
        assert requirement.specifier.contains(locked[name]), f"{name} {locked[name]}: run scripts/lock"


def test_the_pinned_installer_carries_the_build_backend():
    backend = Requirement(pyproject()["build-system"]["requires"][0])
    assert backend.specifier.contains(lock("uv")["uv"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_run(script: Path):
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


def test_no_file_names_a_package_registry():
    for path in PROJECT.rglob("*"):
        parts = path.relative_to(PROJECT).parts
        if parts[0] in NOT_OURS or "__pycache__" in parts or parts[0].endswith("_cache") or not path.is_file():
            continue
        text = path.read_bytes()
        assert not any(host.encode() in text for host in REGISTRY_HOSTS), path


def test_a_finished_install_is_left_alone(tmp_path: Path):
    project = copy_of_the_project(tmp_path)
    make_venv_look_installed(project, "dev")
    for level in ("uv", *LEVELS):
        result = install_nothing(project, level)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_changed_lock_is_installed_again(tmp_path: Path):
    project = copy_of_the_project(tmp_path)
    make_venv_look_installed(project, "dev")
    with (project / "requirements" / "dev.txt").open("a") as file:
        file.write("# another\n")
    result = install_nothing(project, "dev")
    assert result.returncode == 1, "it went to work, and found no interpreter to do it with"
    assert "no usable Python" in result.stderr


def test_nothing_is_installed_into_an_interpreter_that_only_looks_like_a_venv(tmp_path: Path):
    project = copy_of_the_project(tmp_path)
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    result = install_nothing(project, "dev")
    assert result.returncode == 1
    assert "no usable Python" in result.stderr


def test_a_mac_that_has_no_packages_is_told_so(tmp_path: Path):
    uname = tmp_path / "bin" / "uname"
    uname.parent.mkdir()
    uname.write_text("#!/bin/sh\necho Darwin x86_64\n")
    uname.chmod(0o755)
    result = install(copy_of_the_project(tmp_path), "api", PATH=f"{uname.parent}:{os.environ['PATH']}")
    assert result.returncode == 1
    assert "not on a Mac with an Intel processor" in result.stderr
    assert "hint: " in result.stderr


def test_without_a_usable_python_it_says_what_to_do(tmp_path: Path):
    project = copy_of_the_project(tmp_path)
    result = install_nothing(project, "api")
    assert result.returncode == 1
    assert "no-such-python must be 3.11 or newer" in result.stderr
    assert "hint:" in result.stderr
    assert not (project / ".venv").exists()


def test_an_unknown_level_is_a_wrong_option(tmp_path: Path):
    result = install(copy_of_the_project(tmp_path), "everything")
    assert result.returncode == 2
    assert "scripts/install [api|pipeline|dev]" in result.stderr


def test_what_is_installed_needs_no_compiling_at_every_start():
    import prefect

    modules = list(Path(prefect.__file__).parent.glob("client/**/*.py"))
    assert modules
    assert [str(module) for module in modules if not Path(cache_from_source(str(module))).exists()] == []


@pytest.mark.slow
def test_a_half_made_venv_is_made_anew_and_works(tmp_path: Path):
    """Downloads what the API needs, unless the installer has it in its cache."""
    project = copy_of_the_project(tmp_path)
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / ".installing").write_text("4194305\n")  # above the largest process id there is
    result = install(project, "api", CC="no-such-compiler", CXX="no-such-compiler")
    assert result.returncode == 0, result.stderr
    assert "making it anew" in result.stdout
    assert "no library of the compiled loops" in result.stderr
    assert "g++" in result.stderr
    python = project / ".venv" / "bin" / "python"
    code = "import core.errors, catalogs, classifier, warehouse, api; print(core.errors.__file__)"
    found = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(project)
    assert (project / ".venv" / "bin" / "aisle").exists()
    assert install(project, "api").stdout == ""


@pytest.mark.slow
def test_what_the_api_needs_is_enough_to_serve(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    """As the test above, it downloads what is not in the installer's cache."""
    home = shared_home(tmp_path_factory.getbasetemp())
    project = copy_of_the_project(tmp_path)
    assert install(project, "api").returncode == 0
    python = project / ".venv" / "bin" / "python"
    if can_build():
        code = "import sys, api.api; print('numba' in sys.modules)"
        assert subprocess.run([python, "-c", code], cwd=project, capture_output=True, check=True).stdout == b"False\n"
    for heavy in ("prefect", "great_expectations", "evidently", "pandas", "deltalake"):
        found = subprocess.run([python, "-c", f"import {heavy}"], capture_output=True, text=True, check=False)
        assert f"No module named '{heavy}'" in found.stderr
    command = ["-m", "aisle", "serve"]
    with running(home, tmp_path / "log", python=python, command=command, folder=project) as server:
        assert server.client.get("/ready").status_code == 200
        products = [{"title": "oak shelf"}] * 100
        assert server.client.post("/v1/catalogs/demo/predictions", json=products[:1]).status_code == 200
        assert server.client.post("/v1/catalogs/demo/predictions", json=products).status_code == 200
        assert server.client.get("/v1/catalogs/demo/predictions/D000-0000001").status_code == 200
        assert server.client.post("/prediction", json={"text": "puck goalie"}).json() == {"label": "hockey"}
        assert server.client.get("/metrics").status_code == 200


def test_the_wheel_holds_all_that_is_not_python_too(tmp_path: Path):
    uv = Path(sys.prefix) / "bin" / "uv"
    if not uv.exists():
        pytest.skip("no uv in this environment: scripts/install brings it")
    project = copy_of_the_project(tmp_path)
    command = [uv, "build", "--quiet", "--offline", "--wheel", "--out-dir", tmp_path / "dist", project]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as wheel:
        packed = set(wheel.namelist())
    for package in packages():
        for path in (PROJECT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert str(path.relative_to(PROJECT)) in packed


def test_deployments_name_flows_that_take_their_parameters():
    deployments = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    flows = sorted(path.stem for path in (PROJECT / "flows").glob("*.py") if path.stem != "__init__")
    here = [entry["entrypoint"] for entry in deployments if entry["name"] == "demo"]
    assert sorted(here) == [f"flows.{name}.{name}" for name in flows]
    for entry in deployments:
        module, _, name = entry["entrypoint"].rpartition(".")
        flow = getattr(import_module(module), name)
        inspect.signature(flow.fn).bind(**entry["parameters"])


def test_every_builtin_catalogue_has_a_night_and_only_the_demos_is_scheduled_unasked():
    deployments = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    nights = {entry["name"]: entry for entry in deployments if entry["entrypoint"] == "flows.nightly.nightly"}
    assert {path.stem for path in (PROJECT / "catalogs" / "builtin").glob("*.toml")} <= nights.keys()
    active = [entry["name"] for entry in deployments for when in entry.get("schedules", []) if when["active"]]
    assert set(active) == {"demo"}
    for entry in deployments:
        catalog = entry["parameters"]["catalog"]
        assert entry["name"].partition("-")[0] == catalog
        assert {"aisle", catalog} <= set(entry["tags"])
        # A second retraining on the same labels would be work for nothing.
        strategy = "CANCEL_NEW" if entry["entrypoint"] == "flows.retrain.retrain" else "ENQUEUE"
        assert entry["concurrency_limit"] == {"limit": 1, "collision_strategy": strategy}


def test_the_images_are_built_from_a_base_of_ones_choice_and_run_as_nobody_special():
    text = (PROJECT / "Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+) AS (\S+)", text, flags=re.MULTILINE)
    assert [name for _, name in stages][-2:] == ["api", "pipeline"]
    known = {"${BASE_IMAGE}"}
    for base, name in stages:
        assert base in known
        known.add(name)
    assert re.search(r"^USER 10001:10001$", text, flags=re.MULTILINE)
    assert 'ENTRYPOINT ["aisle"]' in text


def test_an_image_gets_every_package_of_the_project():
    allowed = {line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(packages()) <= allowed
    assert {"pyproject.toml", "requirements/*.txt", "README.md"} <= allowed


def packages() -> list[str]:
    return pyproject()["tool"]["uv"]["build-backend"]["module-name"]


def copy_of_the_project(folder: Path) -> Path:
    project = folder / "project"
    project.mkdir()
    for name in [*packages(), "requirements", "scripts"]:
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, project)
    return project


def install(project: Path, level: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [project / "scripts" / "install", level]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def install_nothing(project: Path, level: str) -> subprocess.CompletedProcess[str]:
    """Run the script where it finds no interpreter, and could fetch no package even if it got further."""
    nowhere = str(project / "empty")
    fetch_nothing = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": nowhere, "PIP_CONFIG_FILE": os.devnull}
    fetch_nothing |= {"UV_OFFLINE": "1", "UV_CACHE_DIR": nowhere}
    return install(project, level, PYTHON="no-such-python", **fetch_nothing)


def make_venv_look_installed(project: Path, level: str) -> None:
    """A virtual environment without pip, and the stamp that a finished install leaves."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    files = ["requirements/uv.txt", f"requirements/{level}.txt", "pyproject.toml", "scripts/install"]
    files += [f"classifier/{name}" for name in sorted({"library.py", *compiled._SOURCES})]
    content = b"".join((project / name).read_bytes() for name in files)
    checksum = subprocess.run(["cksum"], input=content, capture_output=True, check=True).stdout.decode()
    (project / ".venv" / f".installed-{level}").write_text(f"{checksum}{project.resolve()}\n")
