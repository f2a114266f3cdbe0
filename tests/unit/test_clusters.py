"""The cluster files hold to Ray's own schema, and to what docs/cluster.md promises of them."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.support.object_server import SERVER
from tune_app import __version__

ROOT = Path(__file__).parents[2]
CLOUDS = [ROOT / "cluster.yaml", ROOT / "clusters" / "gcp.yaml"]
FILES = [*CLOUDS, ROOT / "clusters" / "local.yaml"]


def read(path: Path) -> dict[str, Any]:
    """A file as `ray up` takes it: with Ray's defaults for its provider."""
    config: dict[str, Any] = prepare_config(yaml.safe_load(path.read_text(encoding="utf-8")))
    return config


def is_start(command: str) -> bool:
    return "ray start" in command


def starts(config: dict[str, Any]) -> list[str]:
    keys = ("head_start_ray_commands", "worker_start_ray_commands")
    return [line for key in keys for line in config[key] if is_start(line)]


def workers(config: dict[str, Any]) -> list[dict[str, Any]]:
    types = config["available_node_types"]
    return [kind for name, kind in types.items() if name != config["head_node_type"]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_rays_own_schema_takes_it(path: Path) -> None:
    validate_config(read(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_but_this_package_at_this_version_is_installed(path: Path) -> None:
    config = read(path)
    for role in ("head", "worker"):
        (command,) = config[f"{role}_setup_commands"]
        assert f"setup.sh {role} --version {__version__} " in command + " "
    assert config["file_mounts"]["~/tune_app/constraints.txt"] == "constraints.txt"


def pinned() -> dict[str, str]:
    """The versions in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines)
    return {canonicalize_name(name): version for name, version in pairs}


def needed(
    names: list[str], known: Mapping[NormalizedName, Distribution]
) -> Iterator[tuple[str, Requirement]]:
    """What packages require, and what those require; with who does."""
    waiting, seen = [canonicalize_name(name) for name in names], set[NormalizedName]()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in known:
            continue
        seen.add(name)
        for text in known[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
                yield name, requirement


def test_what_the_head_on_aws_needs_besides_goes_with_the_pinned_versions() -> None:
    (command,) = read(CLOUDS[0])["head_setup_commands"]
    (extra,) = re.findall(r"TUNE_APP_EXTRA_PACKAGES=(\S+)", command)
    # The S3 server of the tests has the same packages, in an environment of its own.
    servers = Path(sys.prefix, "servers").glob("lib/python*/site-packages")
    found = distributions(path=[str(folder) for folder in servers])
    known = {canonicalize_name(item.metadata["Name"]): item for item in found}
    if canonicalize_name(extra) not in known:
        pytest.skip(f"no {extra}: `make test` sets it up")
    versions = pinned()
    misfits = [
        f"{who} needs {requirement}"
        for who, requirement in needed([extra], known)
        if (version := versions.get(canonicalize_name(requirement.name))) is not None
        and not requirement.specifier.contains(version)
    ]
    assert misfits == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_node_starts_without_token_or_with_an_open_dashboard(path: Path) -> None:
    config = read(path)
    assert len(starts(config)) == 2
    for command in starts(config):
        assert "RAY_AUTH_MODE=token ray start" in command
        assert "ulimit -n 65536" in command
        assert "dashboard-host" not in command
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "RAY_AUTH_TOKEN" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_ray_takes_a_small_part_of_a_nodes_memory_for_its_objects(path: Path) -> None:
    for command in starts(read(path)):
        (size,) = re.findall(r"--object-store-memory=(\d+)\b", command)
        assert int(size) <= 10_000_000_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_trial_lands_on_the_head(path: Path) -> None:
    config = read(path)
    head = config["available_node_types"][config["head_node_type"]]
    said = [line for line in config["head_start_ray_commands"] if is_start(line)]
    assert head["resources"] == {"CPU": 0} or "--num-cpus=0" in said[0]


@pytest.mark.parametrize("path", CLOUDS, ids=lambda path: path.name)
def test_machines_with_gpus_are_spot_and_come_when_they_are_asked_for(path: Path) -> None:
    config = read(path)
    for kind in workers(config):
        assert kind["min_workers"] == 0
        assert kind["resources"]["GPU"] == 8
        assert "spot" in str(kind["node_config"]).lower()
    head = config["available_node_types"][config["head_node_type"]]
    assert "spot" not in str(head["node_config"]).lower()
    assert config["idle_timeout_minutes"] <= 15


@pytest.mark.parametrize("path", CLOUDS, ids=lambda path: path.name)
def test_the_image_is_pinned_and_the_same_on_all_nodes(path: Path) -> None:
    def image(kind: dict[str, Any]) -> str:
        node = kind["node_config"]
        if "ImageId" in node:
            return str(node["ImageId"])
        return str(node["disks"][0]["initializeParams"]["sourceImage"])

    images = {image(kind) for kind in read(path)["available_node_types"].values()}
    assert len(images) == 1
    assert "latest" not in images.pop()


def test_ray_launches_a_head_on_demand_and_spot_workers_at_a_simulated_aws(tmp_path: Path) -> None:
    if not SERVER.exists():
        pytest.skip("no moto: `make test` sets it up")
    script, rays = (
        Path(__file__).parents[1] / "support" / "aws_launch.py",
        Path(ray.__file__).parents[1],
    )
    done = subprocess.run(
        [str(SERVER.with_name("python")), str(script), str(CLOUDS[0]), str(rays)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
        },
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    head, *others = seen["instances"]
    assert "InstanceLifecycle" not in head
    assert [node["InstanceLifecycle"] for node in others] == ["spot"] * 2
    # A worker may nothing at AWS: docs/cluster.md tells what a study in a bucket needs.
    assert [("IamInstanceProfile" in node) for node in (head, *others)] == [True, False, False]
    group = seen["group"]
    for node in (head, *others):
        assert [item["GroupId"] for item in node["SecurityGroups"]] == [group["GroupId"]]
    among, ssh = group["IpPermissions"]
    assert [pair["GroupId"] for pair in among["UserIdGroupPairs"]] == [group["GroupId"]]
    assert not among["IpRanges"]
    assert (ssh["FromPort"], ssh["ToPort"]) == (22, 22)


def test_a_key_that_ray_does_not_know_would_be_noticed() -> None:
    config = copy.deepcopy(read(CLOUDS[0]))
    config["available_node_types"]["head"]["spot"] = True
    with pytest.raises(Exception, match="spot"):
        validate_config(config)


def test_the_set_up_is_a_valid_script_that_names_its_mistakes(tmp_path: Path) -> None:
    script = ROOT / "clusters" / "setup.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    for words, said in ((["worker"], "--version is missing"), (["head", "--x", "1"], "--x")):
        done = subprocess.run(
            ["bash", str(script), *words],
            capture_output=True,
            text=True,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode != 0
        assert said in done.stderr
    assert list(tmp_path.iterdir()) == []
