"""Every command of the benchmarks still runs: at its smallest size, as a process of its own.

What a figure is worth is not looked at here, only that it comes. The peers' engines are not
installed here: what needs one runs as far as the first line that asks for it, and is listed apart.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest

from tests.support import processes
from tests.support.story import Story

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
PEERS = BENCHMARKS / "search" / "peers"
TIMEOUT_S = 500
TABLE = "patch128_lstm128_bs64"
"""A name that has a target and recorded searches of the peers; the rows are made up here."""
FIGURE = r"\| [<\d.]+ \("
"""In the line of a search, followed by its interval."""


@dataclass(frozen=True)
class Command:
    """A command line, and the figure that it is run for."""

    script: str
    """Below benchmarks; a module where the words begin with `-m`."""
    words: str
    prints: str
    """A regular expression."""
    starts_ray: bool = False

    def __str__(self) -> str:
        return f"{self.script} {self.words}".split(" {")[0]


COMMANDS = [
    Command("chaos/launch.py", "--help", "usage: "),
    Command(
        "chaos/run.py",
        "--disturbances 1 --real 0 --only driver,",
        r"\| finished trials lost +\| +0 \|",
        starts_ray=True,
    ),
    Command("fair_rungs/__main__.py", "", r"\| B/3 \|.*\n.*\n[\s\S]*then the best ninth in full"),
    Command("importance.py", "rows {table} --draws 1", r"16 rows: 16 trials, holds \d+%"),
    Command("importance.py", "search {table} --draws 1", r"auto, 25 full runs: \d+ trials, holds"),
    Command(
        "lm_curves.py",
        "--configurations 1 --shortest-only --out {folder}/curves.parquet",
        "1 configurations, 7 rows",
    ),
    Command("overhead.py", "--pairs 1 --steps 9 --eval-tokens 1024", r"plain Trainer: \d\.\d+ \("),
    Command(
        "search/compare.py",
        "--tables {table} --seeds 1",
        rf"auto \+ auto \| 1 {FIGURE}[\s\S]*\| wandb_bayes 0.2.0 {FIGURE}",
    ),
    Command("search/growth.py", "--searcher auto --trials 20", r"auto +20 +\d\.\d+ +\d\.\d+ +\d"),
    Command(
        "search/live.py",
        "--seeds 1 --tokens 10000 --full-runs 1 --folder {live}",
        "reached with 1 of 1 seeds",
        starts_ray=True,
    ),
    Command(
        "search/misleading.py",
        "--seeds 1 --full-runs 1",
        rf"slow_and_better \| random \+ fifo {FIGURE}",
    ),
    Command("search/priors.py", "--tables {table} --seeds 1", r"\| wrong \| \d+\.\d+ \("),
    Command("search/workers.py", "--tables {table} --seeds 1 --workers 2", r"trials \| \d+\.\d+"),
    Command("search/peers/optuna_hyperband.py", "--seeds 1 --tables {table} --out {folder}", ": "),
    Command("search/peers/ray_optuna_asha.py", "--seeds 1 --tables {table} --out {folder}", ": "),
    Command(
        "search/peers/run.py",
        "--tables {table} --seeds 1 --out {folder} --only optuna_hyperband",
        r"optuna_tpe_hyperband \| \d+\.\d+\.\d+ \| 1 \|",
    ),
    Command("search/peers/summary.py", "--tables {table}", r"wandb_bayes \| 0\.2\.0 \| 30 \|"),
    Command("startup.py", "-m --runs 1", r"\nshow +\d\.\d"),
    Command("stress.py", "--trials 4 --workers 2", r"\| 3-4 \| \d+\.\d"),
    Command("stress.py", "--ray --trials 4 --workers 2", r"\| 3-4 \| \d+\.\d", starts_ray=True),
    Command(
        "structure.py",
        "--walk",
        r"modules at the root +6\n[\s\S]*learning_rate .*:\n[\s\S]*engine/worker.py",
        starts_ray=True,
    ),
    Command("wandb_mirror.py", "-m memory 10", r'"online", "trials": 10, "exit": 0'),
    Command("wandb_mirror.py", "-m peer 1", r'"ours", "seconds": \d.*"complete": 1', True),
    Command("wandb_stalled.py", "-m --pairs 1 --trials 1", r'\{"wall": \[\d', starts_ray=True),
]


@dataclass(frozen=True)
class Elsewhere:
    """What needs a package of another environment, and what is said when it is asked for."""

    script: str
    words: str
    says: str

    def __str__(self) -> str:
        return self.script


ELSEWHERE = [
    Elsewhere("search/_wandb_ask.py", "", "No module named 'sweeps'"),
    Elsewhere("search/bohb_generator.py", "", "No module named 'ConfigSpace'"),
    Elsewhere("search/peers/hpbandster_bohb.py", "--help", "No module named 'ConfigSpace'"),
    Elsewhere("search/peers/neps_priorband.py", "--help", "No module named 'neps'"),
    Elsewhere("search/peers/smac_multifidelity.py", "--help", "No module named 'ConfigSpace'"),
    Elsewhere("search/peers/syne_tune_schedulers.py", "--help", "No module named 'syne_tune'"),
    Elsewhere("search/peers/wandb_sweeps.py", "--help", "No module named 'sweeps'"),
    Elsewhere("wandb_oracle.py", "", "'sweeps==0.2.0'"),
]


@dataclass(frozen=True)
class Place:
    """Where the commands run: nothing of it is the person's."""

    folder: Path
    environment: dict[str, str]

    def run(self, script: str, words: str) -> subprocess.CompletedProcess[str]:
        path = f"benchmarks/{script}"
        program = [path]
        if words.startswith("-m "):
            program, words = ["-m", path.removesuffix(".py").replace("/", ".")], words[3:]
        named = {"folder": self.folder, "table": self.table, "live": self.live}
        given = [word.format(**named) for word in words.split()]
        before = processes.started()
        try:
            return subprocess.run(
                [sys.executable, *program, *given],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
            )
        finally:
            # One that was cut off has left its Ray behind.
            processes.end(process for process in processes.started() if process not in before)

    @property
    def table(self) -> Path:
        return self.folder / f"{TABLE}.parquet"

    @property
    def live(self) -> Path:
        return self.folder / "live"


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    # The sockets of Ray lie below: their paths must not be long.
    with TemporaryDirectory(prefix="b-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        home = folder / "home"
        made = Place(
            folder,
            {
                **os.environ,
                "HOME": str(home),
                "TMPDIR": name,
                "TUNE_APP_CACHE": str(folder / "cache"),
                # Nothing is fetched: an engine that is not here is not looked for elsewhere.
                "PIP_NO_INDEX": "1",
                "PIP_CONFIG_FILE": os.devnull,
            },
        )
        _write_table(made.table)
        _tell_a_search_of_wandb(made.live / "wandb-0")
        for adapter in ("optuna_hyperband", "hpbandster_bohb"):
            _lend_this_environment(home / ".cache" / "tune_app" / "peers" / adapter)
        yield made


def _write_table(path: Path) -> None:
    """110 trials of 3 levels, so many that the benchmark of importances can draw 100."""
    rows = [
        {
            "trial": number,
            "config.learning_rate": 10.0 ** (-number / 30),
            "config.kind": "ab"[number % 2],
            "step": step,
            "eval_loss": 0.4 + number % 7 / 10 + (30 - step) / 30,
        }
        for number in range(110)
        for step in (10, 20, 30)
    ]
    pd.DataFrame(rows).to_parquet(path)


def _tell_a_search_of_wandb(folder: Path) -> None:
    """A study that has ended, whose best any training beats: W&B's engine is not here to search."""
    folder.mkdir(parents=True)
    story = Story(folder)
    story.start()
    trial = story.begin(0)
    story.report(trial, 10_000, 9.0, 2)
    story.end(trial, "completed")
    story.tell("study_ended", reason="done")
    story.journal.close()


def _lend_this_environment(folder: Path) -> None:
    """An adapter's environment that is this one, and counts as installed."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    shutil.copy(PEERS / "requirements" / f"{folder.name}.txt", folder / "requirements.txt")


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[pytest.mark.system] if command.starts_ray else [])
        for command in COMMANDS
    ],
    ids=str,
)
def test_a_benchmark_runs_and_prints_its_figure(command: Command, place: Place) -> None:
    done = place.run(command.script, command.words)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert re.search(command.prints, said), said


@pytest.mark.parametrize("command", ELSEWHERE, ids=str)
def test_what_needs_another_environment_runs_as_far_as_its_package(
    command: Elsewhere, place: Place
) -> None:
    done = place.run(command.script, command.words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert command.says in done.stderr.strip().splitlines()[-1]


def test_no_command_of_the_benchmarks_is_left_out() -> None:
    guarded = {
        str(path.relative_to(BENCHMARKS))
        for path in BENCHMARKS.rglob("*.py")
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    }
    listed = {command.script for command in COMMANDS}
    listed |= {command.script for command in ELSEWHERE}
    assert guarded - listed == set()
    assert all((BENCHMARKS / script).is_file() for script in listed)
