"""clusters/setup.sh, run for real on a folder: what it would ask root for is written down only."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pip
import pytest

SCRIPT = Path(__file__).parents[2] / "clusters" / "setup.sh"
NO_TORCH = "class version:\n    cuda = None\n__version__ = '2.0'\n"
CUDA_TORCH = NO_TORCH.replace("None", "'13.0'")
SHARE = "10.0.0.2:/share"


@dataclass
class Node:
    """A machine's home, its commands and its shared folder."""

    folder: Path

    def command(self, name: str, script: str = "") -> None:
        """Puts a command before the machine's own; it writes down how it was called."""
        path = self.folder / "bin" / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >>{self.folder}/calls\n{script}\n')
        path.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.split()[0] == name]

    def package(self, text: str) -> None:
        """The wheel that `make wheel` leaves, of always the same version."""
        (self.folder / "dist").mkdir(exist_ok=True)
        info = "tune_app-0.1.0.dist-info"
        with zipfile.ZipFile(
            self.folder / "dist" / "tune_app-0.1.0-py3-none-any.whl", "w"
        ) as wheel:
            wheel.writestr("tune_app.py", text)
            wheel.writestr(
                f"{info}/METADATA", "Metadata-Version: 2.1\nName: tune-app\nVersion: 0.1.0"
            )
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")

    @property
    def environment(self) -> Path:
        return self.folder / "venv"

    def set_up(self, role: str = "worker", *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(self.folder / "setup.sh"), role, "--version", "0.1.0", *words],
            capture_output=True,
            text=True,
            env={
                "HOME": str(self.folder / "home"),
                "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
                "TUNE_APP_VENV": str(self.environment),
                "TUNE_APP_SHARED": str(self.folder / "shared"),
                "TUNE_APP_FSTAB": str(self.folder / "fstab"),
                "TUNE_APP_CUDA": str(self.folder / "cuda"),
                "PIP_NO_INDEX": "1",
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            },
        )

    def installed(self) -> str:
        python = str(self.environment / "bin" / "python")
        code = "import tune_app; print(tune_app.__doc__)"
        done = subprocess.run(
            [python, "-I", "-c", code], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def fstab(self) -> list[str]:
        return (self.folder / "fstab").read_text().splitlines()


def make_environment(folder: Path, torch: str = NO_TORCH) -> None:
    """A virtual environment with this one's pip, and with a torch of a few bytes."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "pip").symlink_to(Path(pip.__file__).parent)
    (site / "torch.py").write_text(torch)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = Node(tmp_path)
    for name in ("home", "bin"):
        (tmp_path / name).mkdir()
    shutil.copy(SCRIPT, tmp_path)
    (tmp_path / "constraints.txt").write_text("")
    (tmp_path / "fstab").write_text("/dev/sda1 / ext4 defaults 0 1\n")
    node.command("id", "echo 1000")
    node.command("sudo", 'exec "$@"')
    for name in ("mount", "mount.nfs4", "chown", "apt-get", "sleep"):
        node.command(name)
    node.package('"""first"""')
    return node


def test_a_new_wheel_of_the_same_version_takes_the_place_of_the_old_one(node: Node) -> None:
    make_environment(node.environment)
    for text in ("first", "second"):
        node.package(f'"""{text}"""')
        done = node.set_up()
        assert done.returncode == 0, done.stderr
        assert node.installed() == text


def test_a_virtual_environment_that_was_cut_off_is_made_again(node: Node) -> None:
    make_environment(node.environment)
    (site,) = node.environment.glob("lib/python*/site-packages")
    (site / "pip").rename(node.folder / "pip")
    node.command("python3", f'[[ "$2" != venv ]] || mv {node.folder}/pip {site}/pip')
    done = node.set_up()
    assert done.returncode == 0, done.stderr
    assert node.calls("python3")[-1] == f"python3 -m venv {node.environment}"
    assert node.installed() == "first"


def test_a_share_is_mounted_again_after_a_reboot(node: Node) -> None:
    make_environment(node.environment)
    for _ in range(2):
        done = node.set_up("worker", "--nfs", SHARE)
        assert done.returncode == 0, done.stderr
    root, ours = node.fstab()
    assert root.startswith("/dev/sda1")
    source, place, kind, options, *_ = ours.split()
    assert (source, place, kind) == (SHARE, str(node.folder / "shared"), "nfs4")
    assert {"hard", "_netdev", "nofail", "noresvport"} <= set(options.split(","))
    plain = options.partition(",_netdev")[0]
    assert node.calls("mount") == [f"mount -t nfs4 -o {plain} {SHARE} {place}"] * 2


def test_another_share_takes_the_place_of_the_first(node: Node) -> None:
    make_environment(node.environment)
    for share in (SHARE, "10.0.0.3:/other"):
        assert node.set_up("worker", "--nfs", share).returncode == 0
    _, ours = node.fstab()
    assert ours.startswith("10.0.0.3:/other ")


def test_without_a_share_nothing_is_mounted(node: Node) -> None:
    make_environment(node.environment)
    assert node.set_up().returncode == 0
    assert len(node.fstab()) == 1
    assert node.calls("mount") == []


def test_a_fresh_machine_is_waited_for_and_learns_of_packages_first(node: Node) -> None:
    make_environment(node.environment)
    updates = f"$(grep -c '^apt-get .*update' {node.folder}/calls)"
    node.command("apt-get", f'[[ "$*" != *update || {updates} == 3 ]]')
    node.command("python3", '[[ "$1" != -c ]]')
    (site,) = node.environment.glob("lib/python*/site-packages")
    (site / "pip").unlink()
    # It has no pip in the end either: what is asked for on the way there is looked at.
    assert node.set_up().returncode != 0
    *first, last = node.calls("apt-get")
    assert first == ["apt-get --quiet update"] * 3
    assert last.endswith("install --yes --quiet python3-venv")
    assert "DPkg::Lock::Timeout=300" in last


@pytest.mark.parametrize("broken", ["cp", "mv"])
def test_apex_that_could_not_be_put_into_the_shared_folder_is_told(node: Node, broken: str) -> None:
    make_environment(node.environment, CUDA_TORCH)
    compiler = node.folder / "cuda" / "bin" / "nvcc"
    compiler.parent.mkdir(parents=True)
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    stand_in_for_pip(node)
    node.command(broken, "exit 1")
    done = node.set_up("head")
    assert done.returncode == 0, done.stderr
    assert "apex is not built; studies run without it" in done.stderr
    assert not list(node.folder.glob("shared/wheels/*/apex-*.whl"))


def stand_in_for_pip(node: Node) -> None:
    """A pip that installs nothing, and builds an empty apex."""
    (site,) = node.environment.glob("lib/python*/site-packages")
    (site / "pip").unlink()
    (site / "pip.py").write_text(
        "import pathlib, sys\n"
        "if '--wheel-dir' in sys.argv:\n"
        "    folder = sys.argv[sys.argv.index('--wheel-dir') + 1]\n"
        "    pathlib.Path(folder, 'apex-0.1-py3-none-any.whl').touch()\n"
    )
