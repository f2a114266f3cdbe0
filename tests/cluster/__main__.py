"""A real `ray up` of clusters/local.yaml on this one machine, a real study on it, and faults.

`make test-cluster`, as root. The machines are namespaces (see machines.py); what happens is printed
as it happens. `python -m tests.cluster redis` is the same with Ray's GCS fault tolerance. Exit code
0 also when this machine lacks what it takes, which is said.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

from tests.cluster import machines, scenario

INSIDE = "TUNE_APP_TEST_CLUSTER"


def main() -> int:
    redis = "redis" in sys.argv[1:]
    lacking = machines.missing(redis)
    if lacking:
        print("test-cluster is SKIPPED; it needs " + " and ".join(lacking))
        return 0
    if INSIDE not in os.environ:
        # Everything this test does to networks, mounts and processes ends with this one process.
        os.environ[INSIDE] = tempfile.mkdtemp(prefix="tune_app_cluster_", dir="/var/tmp")
        spaces = ["--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
        again = [sys.executable, "-m", "tests.cluster", *sys.argv[1:]]
        os.execvp("unshare", ["unshare", *spaces, *again])
    # The first process of a namespace has no default reaction to it.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    return scenario.run(Path(os.environ[INSIDE]), redis)


if __name__ == "__main__":
    sys.exit(main())
