"""The wheel that is built from the repository works where there is no repository."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.system.conftest import Shell, ends

ROOT = Path(__file__).parents[2]


def test_an_installed_wheel_runs_a_search_from_any_folder(shell: Shell, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("search_spaces/quickstart.yaml", "trainables/causal_lm.py", "tune_app/run.py"):
        assert needed in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/"))]

    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    environment = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    where = "import tune_app, trainables.causal_lm as t; print(tune_app.__file__, t.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where],
        env={**os.environ, **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.count(str(site)) == 2

    elsewhere = Shell(tmp_path, shell.cache, environment)
    words = [
        "budget.trials=1",
        "scheduler=fifo",
        "budget.tokens=20000",
        "parameters.size.value=nano",
    ]
    overrides = [part for word in words for part in ("--set", word)]
    result = elsewhere.run("run", "--name", "wheel", *overrides)
    assert result.returncode == 0, result.stderr
    assert str(site / "search_spaces" / "quickstart.yaml") in result.stdout
    assert ends(elsewhere.journal("wheel")) == {"0000": "completed"}
