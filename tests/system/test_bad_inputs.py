"""What a person gets wrong: one clear message for each mistake, exit code 2, nothing left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.simulated import document
from tests.system.conftest import Shell

TINY = """\
metric: {name: final_eval_loss, goal: minimize}
method: random
parameters:
  learning_rate: {distribution: log_uniform_values, min: 1.0e-4, max: 2.0e-2}
tune:
  budget: {tokens: 6000, trials: 2}
  trackers: []
"""

MANY_MISTAKES = """\
metod: random
parameters:
  learning_rate: {min: "a", max: 1}
  weight_decay: {min: 1, max: 0.1}
  dropout: {min: 0.1, max: 0.1}
tune:
  budgt: {}
  budget: {tokens: lots, trials: -3}
"""

PLUG_INS = """\
parameters: {learning_rate: {min: 1, max: 2}}
tune: {searcher: tpee, scheduler: {name: asha, rung: 3}, trackers: [wandbb]}
"""

BAD_NAMES = """\
parameters:
  learning_rat: {min: 0.1, max: 1}
  max_steps: {values: [5, 10]}
  size: {values: [nano, mega]}
  warmup_steps: {values: [0, lots]}
  gradient_accumulation_steps: {values: [0, 1]}
tune: {trackers: []}
"""

IMPOSSIBLE = """\
parameters:
  optim: {values: [adamw_torch, adamw_torc, adamw_apex_fused]}
  lr_scheduler_type: {values: [linear, cosin]}
  fp16: {value: true}
tune: {trackers: [], accelerator: cpu}
"""

RAISING = """\
from dataclasses import dataclass

@dataclass
class Config:
    learning_rate: float = 1e-3

def prepare(config, cache, log):
    raise RuntimeError("no data today")

def build(config, data, args): ...
"""


@dataclass(frozen=True)
class Mistake:
    """A command line, and the words that its messages must have."""

    words: tuple[str, ...]
    told: tuple[str, ...]
    count: int = 1
    """How many messages there are."""


WITHOUT_RAY = {
    "many mistakes at once": Mistake(
        ("run", "many.yaml"),
        (
            "many.yaml:1:1 metod: unknown key 'metod'",
            "did you mean 'method'?",
            "many.yaml:3:19 parameters.learning_rate.min: 'a' is not a number",
            "parameters.weight_decay: range [1, 0.1] is empty",
            "parameters.dropout: [0.1, 0.1] is one value",
            "many.yaml:7:3 tune.budgt: unknown key 'budgt'",
            "tune.budget.tokens: 'lots' does not fit",
            "tune.budget.trials: -3 does not fit",
        ),
        count=7,
    ),
    "no such file": Mistake(("run", "tny.yaml"), ("tny.yaml: no such", "mean 'tiny.yaml'?")),
    "a folder": Mistake(("run", "folder"), ("folder: is a folder", "a W&B sweep or study file")),
    "not YAML": Mistake(("run", "torn.yaml"), ("torn.yaml:2:2: not YAML",)),
    "not text": Mistake(("run", "binary.yaml"), ("binary.yaml: cannot read", "not UTF-8")),
    "plug-ins": Mistake(
        ("run", "plugins.yaml"),
        (
            "unknown searcher 'tpee'",
            "did you mean 'tpe'?",
            "unknown option 'rung'",
            "did you mean 'rungs'?",
            "tune.trackers.0: unknown tracker 'wandbb'",
        ),
        count=3,
    ),
    "overrides": Mistake(
        (
            "run",
            "tiny.yaml",
            "--set",
            "seed",
            "--set",
            "budgt=3",
            "--set",
            "learning_rate=1",
        ),
        (
            "--set seed: not of the form KEY=VALUE",
            "did you mean 'budget'?",
            "parameters.learning_rate.value=",
        ),
        count=3,
    ),
    "a path as a name": Mistake(
        ("run", "tiny.yaml", "--name", "../x"), ("--name: '../x' cannot name a study",)
    ),
    "no name": Mistake(("run", "tiny.yaml", "--name", ""), ("--name: '' cannot name a study",)),
    "a file as storage": Mistake(
        ("run", "tiny.yaml", "--storage", "tiny.yaml"),
        ("cannot make the study's folder: Not a directory", "choose another --storage"),
    ),
    "unknown trainable": Mistake(
        ("run", "tiny.yaml", "--set", "trainable=causal_ml"),
        ("--set trainable=causal_ml: unknown trainable", "did you mean 'causal_lm'?"),
    ),
    "a trainable that is not Python": Mistake(
        ("run", "tiny.yaml", "--set", "trainable=torn.py"), ("torn.py:1: not Python: expected ':'",)
    ),
    "unknown study": Mistake(
        ("resume", "damagd"), ("no study named 'damagd'", "did you mean 'damaged'?")
    ),
    "damaged journal": Mistake(
        ("show", "damaged"), ("journal.jsonl:2: this line is not a JSON object", "to do:")
    ),
    "a journal that lacks a line": Mistake(
        ("report", "misfit"), ("journal.jsonl:2: this report does not go with", "to do:")
    ),
    "a file as studies": Mistake(
        ("list", "--storage", "tiny.yaml"), ("--storage tiny.yaml: not a folder",)
    ),
}

WITH_RAY = {
    "names and values": Mistake(
        ("run", "names.yaml", "--name", "names"),
        (
            "names.yaml:2:3 parameters.learning_rat: the trainable has no parameter",
            "did you mean 'learning_rate'?",
            "max_steps is not for a study to set: it follows from tune.budget",
            "parameters.size: there is no size 'mega'",
            "parameters.warmup_steps: 'lots' is of the wrong type",
            "parameters.gradient_accumulation_steps: 0 is too small",
        ),
        count=5,
    ),
    "choices that cannot run here": Mistake(
        ("run", "impossible.yaml", "--name", "impossible"),
        (
            'impossible.yaml:2:3 parameters.optim: the choice "adamw_torc" cannot run here',
            "did you mean 'adamw_torch'?",
            "NVIDIA apex is not installed",
            'the choice "cosin" cannot run here: cosin is not a valid SchedulerType',
            "parameters.fp16: true cannot run here: mixed precision in float16 needs a GPU",
            "add --drop-impossible",
        ),
        count=4,
    ),
    "a trainable that raises": Mistake(
        ("run", "tiny.yaml", "--name", "raising", "--set", "trainable=raising.py"),
        ("trainable raising.py: raised before the first trial: RuntimeError: no data today",),
    ),
}


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with files that are wrong in one way each, and two damaged studies."""
    folder = tmp_path_factory.mktemp("bridge")
    texts = {
        "tiny.yaml": TINY,
        "many.yaml": MANY_MISTAKES,
        "plugins.yaml": PLUG_INS,
        "names.yaml": BAD_NAMES,
        "impossible.yaml": IMPOSSIBLE,
        "torn.yaml": "a: [1, 2\nb: }",
        "raising.py": RAISING,
        "torn.py": "def prepare(config, cache, log)\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "binary.yaml").write_bytes(b"a: \xff\xfe\n")
    (folder / "folder").mkdir()
    started = json.dumps({"event": "study_started", "time": 1, "study": document()})
    report = json.dumps({"event": "report", "time": 2, "trial": "0000"})
    for name, line in {"damaged": "garbage", "misfit": report}.items():
        study = folder / "studies" / name
        study.mkdir(parents=True)
        (study / "journal.jsonl").write_text(f"{started}\n{line}\n{report}\n")
    return Shell(folder, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def nothing_left(bridge: Shell) -> Iterator[None]:
    """Fails when a command leaves anything in the folder that was not there before."""
    before = _files(bridge.folder)
    yield
    assert _files(bridge.folder) == before


def _files(folder: Path) -> dict[Path, bytes | None]:
    """What is in it, but for what Python itself keeps of a file that it imports."""
    found = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {path: path.read_bytes() if path.is_file() else None for path in found}


def check(bridge: Shell, mistake: Mistake) -> None:
    result = bridge.run(*mistake.words)
    assert result.returncode == 2, result.stderr
    for words in mistake.told:
        assert words in result.stderr
    starts = [line for line in result.stderr.splitlines() if not line.startswith("  ")]
    assert [line[:7] for line in starts] == ["error: "] * mistake.count, result.stderr
    assert "Traceback" not in result.stderr + result.stdout


@pytest.mark.parametrize("mistake", WITHOUT_RAY.values(), ids=WITHOUT_RAY)
@pytest.mark.usefixtures("nothing_left")
def test_a_mistake_is_told_at_once_and_leaves_nothing(bridge: Shell, mistake: Mistake) -> None:
    check(bridge, mistake)


@pytest.mark.parametrize("mistake", WITH_RAY.values(), ids=WITH_RAY)
@pytest.mark.usefixtures("nothing_left", "no_orphans")
def test_a_mistake_that_a_worker_finds_leaves_nothing(bridge: Shell, mistake: Mistake) -> None:
    check(bridge, mistake)
