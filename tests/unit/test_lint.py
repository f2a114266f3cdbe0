"""`lint` and `export`: what a person sees of a sweep file before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tune_app import study, yaml_source
from tune_app.__main__ import main
from tune_app.cli.export import as_sweep
from tune_app.errors import UserError

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
    first, again = (study.read(files / f"{name}.yaml") for name in ("all", "again"))
    assert first.study is not None
    assert again.study is not None
    assert first.study.sweep == again.study.sweep
    assert not again.warnings


@pytest.mark.skipif(not SHARED.is_dir(), reason="the collection of real sweep files is not here")
def test_every_sweep_found_in_the_wild_is_read_or_refused_with_what_to_do(tmp_path: Path) -> None:
    statuses = []
    for path in sorted(SHARED.iterdir()):
        try:
            found = study.read(path)
        except UserError as error:
            found = study.Read(None, error.problems, (), ())
        statuses.append("ok" if found.study else "refused")
        for problem in found.problems:
            assert f"{path}:" in problem.where
            assert problem.expected or problem.fix, problem
        if found.study is not None:
            copy = tmp_path / "copy.yaml"
            copy.write_text(yaml_source.dump(as_sweep(found.study)))
            again = study.read(copy)
            assert again.study is not None
            assert again.study.sweep == found.study.sweep
    assert statuses.count("ok") >= 30
