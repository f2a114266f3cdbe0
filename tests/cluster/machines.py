"""Machines on this machine: each in namespaces of its own, on one bridge, reached by ssh.

What runs in one sees its own network, processes, home, /run, /dev/shm and /tmp/ray; the rest of the
file system is what they share. All of it is gone with the process that made it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

BRIDGE = "cluster0"
SUBNET = "10.77.0"
SHM = "2g"
REDIS_PORT = 6390
NEEDED = {
    "sshd": "openssh-server",
    "ssh-keygen": "openssh-client",
    "rsync": "rsync",
    "ip": "iproute2",
    "unshare": "util-linux",
}
"""Commands, and Debian's packages that have them."""

INSIDE = """
set -e
mount --make-rprivate /
# A whole folder: a file that is mounted over comes back when somebody replaces the one below.
cp -a /etc {folder}/etc
cp {folder}/passwd {folder}/etc/passwd
mount --bind {folder}/etc /etc
mkdir -p /tmp/ray
mount --bind {folder}/ray /tmp/ray
mount -t tmpfs tmpfs /run
mount -t tmpfs -o size={shm} tmpfs /dev/shm
mkdir -p /run/sshd
hostname {name}
ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip address add {ip}/24 dev eth0
ip link set eth0 up
exec {sshd} -D -e -f {folder}/sshd_config
"""

SSHD = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/home/.ssh/authorized_keys
PasswordAuthentication no
PermitRootLogin yes
StrictModes no
UsePAM no
UseDNS no
MaxStartups 100
PidFile none
"""


def missing(redis: bool) -> list[str]:
    """What this machine lacks, in words."""
    needed = NEEDED | ({"redis-server": "redis-server"} if redis else {})
    search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    packages = sorted({needed[name] for name in needed if shutil.which(name, path=search) is None})
    found = [f"packages: apt install {' '.join(packages)}"] if packages else []
    return found + (["root"] if os.geteuid() != 0 else [])


def sh(*words: str) -> None:
    subprocess.run(words, check=True)


def make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))


def make_network() -> None:
    """The bridge that all machines are on, and this side of it."""
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", BRIDGE, "type", "bridge")
    sh("ip", "address", "add", f"{SUBNET}.1/24", "dev", BRIDGE)
    sh("ip", "link", "set", BRIDGE, "up")


def start_redis(folder: Path) -> str:
    """A Redis that outlives all machines, as one of a cloud does; its address."""
    folder.mkdir()
    host = f"{SUBNET}.1"
    where = ["--bind", host, "--port", str(REDIS_PORT), "--protected-mode", "no"]
    nothing_kept = ["--save", "", "--dir", str(folder)]
    with open(folder / "redis.log", "wb") as log:
        subprocess.Popen([_path_of("redis-server"), *where, *nothing_kept], stdout=log, stderr=log)
    _wait_for(host, REDIS_PORT)
    return f"{host}:{REDIS_PORT}"


@dataclass
class Machine:
    """One machine; its folder holds its home and what is mounted in it."""

    number: int
    folder: Path
    _unshare: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"machine{self.number}"

    @property
    def ip(self) -> str:
        return f"{SUBNET}.{self.number}"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def start(self, public_key: str) -> None:
        """Switches it on; returns when it can be reached by ssh."""
        (self.folder / "ray").mkdir(parents=True, exist_ok=True)
        (self.home / ".ssh").mkdir(parents=True, exist_ok=True)
        (self.home / ".ssh" / "authorized_keys").write_text(public_key)
        if not (self.folder / "host_key").exists():
            make_key(self.folder / "host_key")
        (self.folder / "sshd_config").write_text(SSHD.format(folder=self.folder))
        (self.folder / "passwd").write_text(self._passwd())
        script = INSIDE.format(
            folder=self.folder, shm=SHM, name=self.name, ip=self.ip, sshd=_path_of("sshd")
        )
        spaces = ["--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
        with open(self.folder / "console.log", "ab") as console:
            self._unshare = subprocess.Popen(
                ["unshare", *spaces, "bash", "-c", script], stdout=console, stderr=console
            )
        # That of its last life goes with its namespace, which may take a while.
        subprocess.run(["ip", "link", "delete", self._wire], stderr=subprocess.DEVNULL)
        wire = ["ip", "link", "add", self._wire, "type", "veth", "peer", "name", "eth0"]
        sh(*wire, "netns", str(self._init().pid))
        sh("ip", "link", "set", self._wire, "master", BRIDGE, "up")
        _wait_for(self.ip, 22)

    def cut(self) -> None:
        """Pulls the network cable: packets vanish, nothing is closed."""
        sh("ip", "link", "set", self._wire, "down")

    def mend(self) -> None:
        sh("ip", "link", "set", self._wire, "up")

    def kill(self) -> None:
        """As if the power went: every process in it dies at once."""
        assert self._unshare is not None
        self._init().kill()
        self._unshare.wait(30)

    def processes(self) -> Iterator[psutil.Process]:
        """All that runs in it, but for its sshd."""
        if self._unshare is not None and self._unshare.poll() is None:
            yield from self._init().children(recursive=True)

    def runs(self, word: str) -> bool:
        """Whether one of its processes has this word in its command line."""
        return any(word in line for line in self.command_lines())

    def began(self, word: str) -> float | None:
        """When the first of its processes that has this word began; None if there is none."""
        found = [p.create_time() for p in self.processes() if word in " ".join(p.cmdline())]
        return min(found, default=None)

    def command_lines(self) -> list[str]:
        lines = []
        for process in self.processes():
            try:
                lines.append(" ".join(process.cmdline()))
            except psutil.NoSuchProcess:
                continue
        return lines

    @property
    def _wire(self) -> str:
        return f"wire{self.number}"

    def _passwd(self) -> str:
        """The users of this machine, with root at home in its own folder."""
        lines = Path("/etc/passwd").read_text().splitlines()
        root = next(line for line in lines if line.startswith("root:")).split(":")
        root[5], root[6] = str(self.home), "/bin/bash"
        return "\n".join([":".join(root), *(x for x in lines if not x.startswith("root:"))]) + "\n"

    def _init(self) -> psutil.Process:
        assert self._unshare is not None
        parent = psutil.Process(self._unshare.pid)
        for _ in range(100):
            if children := parent.children():
                return children[0]
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} did not start: {self.folder / 'console.log'}")


def _wait_for(host: str, port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection((host, port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"nobody listens at {host}:{port}")


def _path_of(name: str) -> str:
    # sshd wants to be started by its whole path.
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    assert found is not None
    return found


def stop_all(machines: list[Machine]) -> None:
    for machine in machines:
        if machine._unshare is not None and machine._unshare.poll() is None:
            machine._unshare.send_signal(signal.SIGKILL)
