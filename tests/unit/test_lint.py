"""`lint` and `export`: what a person sees of a sweep file before anything runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tune_app.__main__ import main
from tune_app.cli.export import as_sweep
from tune_app.errors import UserError
from tune_app.study import file as study_file
from tune_app.study import yaml_source

SHARED = Path(__file__).parents[2].parent / "shared" / "sweeps"
GOOD = "method: random\nparameters: {lr: {min: 0.1, max: 1}}\n"
WARNED = "method: random\nparameters:\n  lr: 0.1\n"
WRONG = "method: random\nparameters:\n  lr: {min: 1, max: 0}\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in {"good": GOOD, "warned": WARNED, "wrong": WRONG}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def test_each_file_has_a_status_and_each_message_its_place(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lint", str(files), "--json"]) == 2
    rows = json.loads(capsys.readouterr().out)
    assert [row["status"] for row in rows] == ["ok", "warned", "refused"]
    (told,) = rows[2]["messages"]
    assert (told["level"], told["line"], told["column"]) == ("error", 3, 3)
    assert told["key"] == "parameters.lr"
    assert "min: 0, max: 1" in told["text"]


def test_files_that_can_be_used_are_exit_code_0(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lint", str(files / "good.yaml"), str(files / "warned.yaml")]) == 0
    assert "2 files: 1 ok, 1 warned, 0 refused" in capsys.readouterr().out


def test_a_missing_file_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(files / "wrng.yaml")]) == 2
    assert "did you mean 'wrong.yaml'?" in capsys.readouterr().out


def test_what_export_prints_is_the_same_study(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "name: x\nmethod: bayes\nmetric: {name: loss, goal: maximize, target: 3}\nrun_cap: 4\n"
        "early_terminate: {type: hyperband, max_iter: 27, s: 2}\nparameters:\n"
        "  a: {parameters: {b: {values: [true, null, '1']}}}\n"
        "  c: {distribution: q_log_uniform_values, min: 1.0, max: 9.0, q: 2}\n"
        "  d: {distribution: normal, mu: 1.0, sigma: 2.0}\n"
        "  e: {values: [1, 2], probabilities: [0.25, 0.75]}\n"
        "  f: {distribution: inv_log_uniform, min: 2, max: 5}\n"
    )
    (files / "all.yaml").write_text(text)
    assert main(["export", str(files / "all.yaml")]) == 0
    (files / "again.yaml").write_text(capsys.readouterr().out)
    first, again = (study_file.read(files / f"{name}.yaml") for name in ("all", "again"))
    assert first.study is not None
    assert again.study is not None
    assert first.study.sweep == again.study.sweep
    assert not again.warnings


@pytest.mark.skipif(not SHARED.is_dir(), reason="the collection of real sweep files is not here")
def test_every_sweep_found_in_the_wild_is_read_or_refused_with_what_to_do(tmp_path: Path) -> None:
    statuses = []
    for path in sorted(SHARED.iterdir()):
        try:
            found = study_file.read(path)
        except UserError as error:
            found = study_file.Read(None, error.problems, (), ())
        statuses.append("ok" if found.study else "refused")
        for problem in found.problems:
            assert f"{path}:" in problem.where
            assert problem.expected or problem.fix, problem
        if found.study is not None:
            copy = tmp_path / "copy.yaml"
            copy.write_text(yaml_source.dump(as_sweep(found.study)))
            again = study_file.read(copy)
            assert again.study is not None
            assert again.study.sweep == found.study.sweep
    assert statuses.count("ok") >= 30


OURS = """\
method: random
metric: {name: final_eval_loss, goal: minimize}
command: [python, train.py, --weight_deacy=0.1]
parameters:
  learning_rat: {min: 0.1, max: 1}
  bf16: {values: [true, "yes"]}
  size: {value: mega}
  output_dir: {value: x}
"""


def rows(capsys: pytest.CaptureFixture[str], *paths: Path) -> list[dict[str, Any]]:
    main(["lint", *map(str, paths), "--json"])
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_names_and_values_are_compared_with_the_trainable_of_a_tune_section(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"{OURS}tune: {{budget: {{tokens: 600000}}}}\n")
    (row,) = rows(capsys, path)
    told = {item["key"]: item for item in row["messages"] if item["level"] == "error"}
    assert row["status"] == "refused"
    assert row["trainable"] == "causal_lm"
    assert "did you mean 'learning_rate'?" in told["parameters.learning_rat"]["text"]
    assert told["parameters.learning_rat"]["line"] == 5
    assert "wrong type" in told["parameters.bf16"]["text"]
    assert "mega" in told["parameters.size"]["text"]
    assert "not for a study to set" in told["parameters.output_dir"]["text"]
    assert "did you mean 'weight_decay'?" in told["command"]["text"]
    assert told["command"]["text"].startswith("weight_deacy: ")
    assert told["command"]["line"] == 3


def test_a_sweep_of_another_program_is_not_refused_for_its_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(OURS)
    assert main(["lint", str(path)]) == 0
    out = capsys.readouterr().out
    assert "has no parameter" not in out
    assert "1 without a tune section" in out


def test_sweeps_of_other_programs_are_checked_without_the_time_to_import_a_trainable(
    files: Path,
) -> None:
    code = (
        "import sys; from tune_app.__main__ import main\n"
        f"main(['lint', {str(files)!r}])\n"
        "assert not {'torch', 'transformers', 'ray'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_study_that_is_checked_needs_no_ray(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"{OURS}tune: {{}}\n")
    code = (
        "import sys; from tune_app.__main__ import main\n"
        f"assert main(['lint', {str(path)!r}]) == 2\n"
        "assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize(
    ("trainable", "status", "words"),
    [
        ("causal_lmm", "refused", "did you mean 'causal_lm'?"),
        ("nowhere.py", "refused", "there is no file nowhere.py"),
        ("no_such_package.model", "warned", "No module named 'no_such_package'"),
        ("needs_more.py", "warned", "parameters not checked: the trainable"),
        ("half.py", "refused", "lacks prepare, build"),
    ],
)
def test_a_trainable_that_cannot_be_asked_is_told_of_and_refused_where_it_cannot_be_right(
    trainable: str,
    status: str,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "needs_more.py").write_text("import no_such_package\n")
    (tmp_path / "half.py").write_text("print('imported')\nclass Config: ...\n")
    path = tmp_path / "sweep.yaml"
    path.write_text(f"{GOOD}tune: {{trainable: {trainable}}}\n")
    (row,) = rows(capsys, path)
    assert row["status"] == status
    (text,) = [m["text"] for m in row["messages"] if m["key"] == "tune.trainable"]
    assert words in text


def sweep_of(folder: Path, trainable: str, metric: str) -> Path:
    path = folder / "sweep.yaml"
    tune = f"{{trainable: {trainable}, budget: {{tokens: 60000}}}}"
    space = "{learning_rate: {min: 0.1, max: 1.0}}"
    path.write_text(f"method: random\nmetric: {metric}\nparameters: {space}\ntune: {tune}\n")
    return path


@pytest.mark.parametrize(
    ("trainable", "name", "words"),
    [
        ("causal_lm", "eval_los", "did you mean 'eval_loss'?"),
        ("causal_lm", "val/loss", "did you mean 'eval_loss'?"),
        ("causal_lm", "loss", "did you mean 'eval_loss'?"),
        ("causal_lm", "final_eval_accuracy", "reports no 'eval_accuracy'"),
        ("continue_causal_lm", "perplexity", "known: eval_loss"),
        ("sequence_classification", "eval/acc", "did you mean 'eval_accuracy'?"),
        ("sequence_classification", "accuracy", "did you mean 'eval_accuracy'?"),
        ("sequence_classification", "train_accuracy", "did you mean 'eval_accuracy'?"),
        ("sequence_classification", "test/accuracy", "there is no test set"),
    ],
)
def test_a_metric_that_the_trainable_does_not_report_is_refused_with_one_that_it_does(
    trainable: str, name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = rows(capsys, sweep_of(tmp_path, trainable, f"{{name: {name}, goal: minimize}}"))
    (told,) = [item for item in row["messages"] if "reports no" in item["text"]]
    assert (told["level"], told["key"], told["line"]) == ("error", "metric.name", 2)
    assert words in told["text"]
    assert "train_loss" not in told["text"]


@pytest.mark.parametrize(
    ("trainable", "metric", "status"),
    [
        ("causal_lm", "{name: eval_loss, goal: minimize}", "ok"),
        ("causal_lm", "{name: final_eval_loss}", "ok"),
        ("causal_lm", "{name: eval/loss, goal: minimize}", "warned"),
        ("causal_lm", "{name: train_loss, goal: minimize}", "ok"),
        ("causal_lm", "{name: eval_loss, goal: maximize}", "warned"),
        ("sequence_classification", "{name: final_eval_accuracy, goal: maximize}", "ok"),
        ("sequence_classification", "{name: eval_accuracy}", "warned"),
        ("own.py", "{name: eval_whatever, goal: maximize}", "ok"),
    ],
)
def test_a_metric_that_the_trainable_reports_may_have_a_goal_that_is_warned_of(
    trainable: str,
    metric: str,
    status: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text("from trainables.causal_lm import Config, build, prepare\n")
    (row,) = rows(capsys, sweep_of(tmp_path, trainable, metric))
    assert row["status"] == status, row
