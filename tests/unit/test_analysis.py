"""What a study is told to amount to, from its journal alone."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest

from tests.support.synthetic import SyntheticStudy, document, write
from tune_app.analysis import format, markdown, plots, report
from tune_app.analysis.plot_style import limits
from tune_app.analysis.scales import Categorical, Numeric, most_varied, scales
from tune_app.analysis.summary import ranked, summarise
from tune_app.console import screens

VALUES = {"learning_rate": 1e-3, "warmup_steps": 5, "optim": "adafactor"}
FLAT = [5.0, 4.5, 4.2, 4.0, 3.9, 3.8, 3.7, 3.6]
MIXED: list[Any] = [True, None, "a", 1, [1, 2], {"a": 1}]
PNGS = ["learning_curves.png", "loss_against_parameters.png", "parallel_coordinates.png"]


def _full(final: float) -> list[float]:
    return [*FLAT, final]


def _study(folder: Path, goal: str = "minimize", **changes: Any) -> SyntheticStudy:
    return SyntheticStudy(folder, document(goal, **changes))


def _choice(values: list[Any]) -> dict[str, Any]:
    return {"type": "choice", "values": values, "weights": None}


def _assert_drawn(paths: list[Path]) -> None:
    assert [path.name for path in paths] == PNGS
    for path in paths:
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) > 400
        assert pixels[..., :3].std() > 0.02, f"{path.name} is empty"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (format.loss(3.16249), "3.162"),
        (format.loss(3.1), "3.100"),
        (format.loss(0.03162), "0.03162"),
        (format.loss(1234.56), "1235"),
        (format.loss(2.5e-7), "2.5e-7"),
        (format.loss(4.2e12), "4.2e12"),
        (format.loss(0.0), "0.000"),
        (format.loss(None), "–"),
        (format.loss("NaN"), "NaN"),
        (format.loss(-math.inf), "-inf"),
        (format.value(0.000312), "3.12e-4"),
        (format.value(1e-5), "1e-5"),
        (format.value(0.1), "0.1"),
        (format.value(1.0), "1"),
        (format.value(0.0), "0"),
        (format.value(123456), "123456"),
        (format.value(1234.5), "1234"),
        (format.value(True), "true"),
        (format.value(None), "null"),
        (format.value("книга"), "книга"),
        (format.value([1, "é"]), '[1, "é"]'),
        (format.value({"a": 1}), '{"a": 1}'),
        (format.tokens(1234567), "1.23M"),
        (format.tokens(400000), "400k"),
        (format.tokens(999999), "1M"),
        (format.tokens(999), "999"),
        (format.tokens(0), "0"),
        (format.count(1234567), "1,234,567"),
        (format.duration(215), "3m35s"),
        (format.duration(59.7), "1m00s"),
        (format.duration(4.23), "4.2s"),
        (format.duration(7322), "2h02m"),
        (format.duration(100_000), "1d04h"),
        (format.duration(None), "–"),
        (format.share(0.58), "58 %"),
        (format.share(0.037), "3.7 %"),
        (format.share(0.999), "99.9 %"),
        (format.share(1.0), "100 %"),
        (format.share(0.0), "0 %"),
        (format.share(0.0001), "< 0.1 %"),
        (format.shorten("abcdefghij", 5), "ab…ij"),
        (format.shorten("abc", 3), "abc"),
        (format.params({"lr": 1e-4, "fused": False}), "lr=1e-4 fused=false"),
    ],
)
def test_facts_are_shown_in_sensible_digits(shown: str, expected: str) -> None:
    assert shown == expected


def test_a_whole_study_is_counted_by_outcome(tmp_path: Path) -> None:
    facts = summarise(write(tmp_path)).to_document()
    outcomes = {key: number for key, number in facts["outcomes"].items() if number}
    assert outcomes == {
        "completed": 3,
        "stopped": 8,
        "diverged": 1,
        "failed": 1,
        "out_of_memory": 1,
    }
    assert (facts["status"], facts["reason"]) == ("ended", "all 14 trials ended")
    assert (facts["running"], facts["paused"]) == (0, 0)


def test_facts_are_strict_json(tmp_path: Path) -> None:
    facts = summarise(write(tmp_path)).to_document()
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    diverged = next(row for row in facts["trials"] if row["outcome"] == "diverged")
    assert diverged["value"] == "NaN"
    assert math.isfinite(diverged["best_value"])


def test_the_best_is_the_lowest_at_the_full_budget_when_minimised(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.trial(VALUES, _full(4.0), kind="baseline")
    study.trial(VALUES, _full(3.0))
    study.trial(VALUES, [2.0], "stopped")
    facts = summarise(study.state()).to_document()
    assert facts["best"]["trial"] == "0001"
    assert facts["best"]["step"] == 400
    assert facts["best"]["checkpoint"] == "checkpoints/0001/step-400"
    assert facts["improvement"]["absolute"] == pytest.approx(1.0)
    assert facts["improvement"]["relative"] == pytest.approx(0.25)
    assert "1.000 (25 %) lower than the untuned defaults (4.000)" in facts["improvement"]["text"]
    assert "seed noise" in facts["improvement"]["text"]


def test_what_the_seed_alone_changes_is_measured_where_it_was_searched(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.trial(VALUES, _full(9.0), kind="baseline")
    for seed, low, high in ((0, 1.0, 3.0), (1, 2.0, 3.0), (2, 3.0, 6.0)):
        study.trial(VALUES | {"seed": seed}, _full(low))
        study.trial(VALUES | {"seed": seed, "batch_size": 4}, _full(high))
    study.trial(VALUES | {"seed": 0, "batch_size": 8}, _full(20.0))
    facts = summarise(study.state()).to_document()
    # Squares 1, 0, 1 and 1, 1, 4, with two degrees of freedom each.
    assert facts["seeds"] == {
        "deviation": pytest.approx(2**0.5),
        "sets": 2,
        "runs": 6,
        "repeated": 2,
        "judged": 0,
        "diverged": 0,
    }
    told = "Runs that differ in the seed alone have a standard deviation of 1.414 (6 runs of 2 sets"
    assert told in facts["improvement"]["text"]
    text = report.write(study.state(), tmp_path / "report", tmp_path).read_text()
    assert told in text
    assert "one run with one seed" not in text


def test_a_study_that_begins_with_earlier_runs_says_so(tmp_path: Path) -> None:
    state = _study(tmp_path, warm_start=[[VALUES, 3.0], [VALUES, 4.0]]).state()
    assert "it begins with what 2 earlier runs say" in screens.opening_lines(state, tmp_path)
    assert "| earlier runs | 2 |" in report.write(state, tmp_path / "report", tmp_path).read_text()


def test_the_same_values_with_the_same_seed_say_nothing_of_seeds(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.trial(VALUES, _full(2.0), kind="baseline")
    study.trial(VALUES, _full(2.0))
    study.trial(VALUES | {"seed": 0}, _full(2.0))
    assert summarise(study.state()).to_document()["seeds"] is None


def test_the_best_is_the_highest_at_the_full_budget_when_maximised(tmp_path: Path) -> None:
    study = _study(tmp_path, "maximize")
    study.trial(VALUES, _full(0.5), kind="baseline")
    study.trial(VALUES, _full(0.6))
    study.trial(VALUES, _full(0.2))
    study.trial(VALUES, [0.9], "stopped")
    facts = summarise(study.state()).to_document()
    assert facts["best"]["trial"] == "0001"
    assert facts["improvement"]["absolute"] == pytest.approx(0.1)
    assert facts["improvement"]["relative"] == pytest.approx(0.2)
    assert "0.1000 (20 %) higher than the untuned defaults" in facts["improvement"]["text"]
    assert facts["trials"][1]["best_value"] == 5.0


def test_a_stopped_trial_is_never_ranked_and_keeps_the_share_it_was_measured_at(
    tmp_path: Path,
) -> None:
    facts = summarise(write(tmp_path)).to_document()
    ranks = [row["rank"] for row in facts["trials"]]
    assert ranks == [1, 2, 3] + [None] * 11
    assert all(row["fraction"] == 1.0 for row in facts["trials"][:3])
    stopped = [row for row in facts["trials"] if row["outcome"] == "stopped"]
    assert {round(row["value_fraction"], 4) for row in stopped} == {0.1111, 0.3333}


def test_a_value_carries_its_own_share_not_that_of_a_later_log_point(tmp_path: Path) -> None:
    study = _study(tmp_path)
    name = study.trial(VALUES, [5.0], None)
    study.append(
        "report",
        trial=name,
        step=60,
        tokens=60_000,
        fraction=0.15,
        seconds=6.0,
        metrics={"train_loss": 4.9},
        rung=None,
        checkpoint=None,
    )
    row = summarise(study.state()).to_document()["trials"][0]
    assert (row["fraction"], row["value"]) == (0.15, 5.0)
    assert row["value_fraction"] == pytest.approx(1 / 9)


@pytest.mark.parametrize(
    ("outcome", "told"),
    [("failed", "no value at the full budget (failed)"), (None, "have not finished")],
)
def test_a_baseline_that_did_not_complete_is_not_compared_with(
    tmp_path: Path, outcome: str | None, told: str
) -> None:
    study = _study(tmp_path)
    study.trial(VALUES, [4.0], outcome, kind="baseline")
    study.trial(VALUES, _full(3.0))
    improvement = summarise(study.state()).to_document()["improvement"]
    assert improvement["absolute"] is None
    assert told in improvement["text"]


def test_a_missing_baseline_is_said(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.trial(VALUES, _full(3.0))
    facts = summarise(study.state()).to_document()
    assert facts["baseline"] is None
    assert "were not run" in facts["improvement"]["text"]


def test_a_baseline_that_wins_is_said(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.trial(VALUES, _full(3.0), kind="baseline")
    study.trial(VALUES, _full(3.25))
    improvement = summarise(study.state()).to_document()["improvement"]
    assert (improvement["absolute"], improvement["relative"]) == (0.0, 0.0)
    assert "No completed trial beat the untuned defaults" in improvement["text"]
    assert "trial 0001, reached 3.250" in improvement["text"]


def test_a_completed_trial_whose_value_is_not_a_number_is_never_the_best(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.trial(VALUES, _full(math.nan))
    study.trial(VALUES, _full(math.inf))
    study.trial(VALUES, _full(3.0))
    state = study.state()
    assert [trial.id for trial in ranked(state)] == ["0002"]
    assert summarise(state).to_document()["best"]["value"] == 3.0


def test_savings_of_early_stopping_are_told_in_full_runs(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.trial(VALUES, _full(4.0), kind="baseline")
    for _ in range(3):
        study.trial(VALUES, FLAT[:3], "stopped")
    study.end()
    spent = summarise(study.state()).to_document()["spent"]
    assert spent["full_runs"] == pytest.approx(2.0)
    assert spent["saved_share"] == pytest.approx(0.5)
    assert spent["tokens"] == 400_000 + 3 * 133_333
    assert spent["text"] == "4 trials cost 2.0 full runs instead of 4: early stopping saved 50 %"


def test_what_broken_trials_did_not_spend_is_no_saving_of_early_stopping(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.trial(VALUES, _full(4.0), kind="baseline")
    study.trial(VALUES, [], "out_of_memory")
    study.end()
    spent = summarise(study.state()).to_document()["spent"]
    assert (spent["saved_share"], spent["short_share"]) == (0.0, 0.5)
    assert "early stopping" not in spent["text"]
    assert "trials that broke off (1 out of memory) left 50 % unspent" in spent["text"]


def test_no_saving_is_claimed_while_a_study_runs(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.trial(VALUES, FLAT[:3], None)
    facts = summarise(study.state()).to_document()
    assert facts["status"] == "running"
    assert facts["spent"]["text"] == "1 trial cost 0.3 full runs so far"
    study.append("trial_interrupted", trial="0000", checkpoint="checkpoints/0000/step-133")
    study.append("study_interrupted")
    facts = summarise(study.state()).to_document()
    assert (facts["status"], facts["paused"]) == ("interrupted", 1)


def test_samples_are_from_before_training_and_from_the_best(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.trial(VALUES, _full(4.0), kind="baseline", samples={"untrained": "шум", "trained": "a"})
    study.trial(VALUES, _full(3.0), samples={"trained": "b"})
    samples = summarise(study.state()).to_document()["samples"]
    assert samples == {"prompt": document()["prompt"], "untrained": "шум", "best": "b"}


def test_scales_tell_apart_choices_that_python_calls_equal() -> None:
    scale = Categorical((True, 1, 1.0, "1", None, [1, 2], {"a": 1}))
    assert [scale.coordinate(value) for value in scale.values] == [0, 1, 2, 3, 4, 5, 6]
    assert scale.coordinate("absent") is None


def test_a_logarithmic_scale_has_no_place_for_zero() -> None:
    scale = Numeric(1e-4, 1e-2, log=True, whole=False)
    assert scale.unit(1e-3) == pytest.approx(0.5)
    assert scale.coordinate(0) is None
    assert scale.coordinate(True) is None


def test_a_scale_reaches_untuned_defaults_outside_of_the_space(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.trial({"warmup_steps": 500, "optim": "sgd"}, _full(4.0), kind="baseline")
    found = scales(study.state())
    assert found["warmup_steps"] == Numeric(0, 500, log=False, whole=True)
    assert found["optim"].coordinate("sgd") == 2


def test_the_most_varied_parameters_are_shown_where_there_are_too_many(tmp_path: Path) -> None:
    study = _study(tmp_path, parameters={f"p{n}": _choice([0, 1, 2]) for n in range(30)})
    for number in range(3):
        study.trial({f"p{n}": number if n in (7, 21) else 0 for n in range(30)}, [4.0], "stopped")
    assert most_varied(study.state(), 2) == ["p7", "p21"]


def test_exploded_values_do_not_stretch_an_axis() -> None:
    low, high = limits([3.0, 3.1, 3.2, 3.3, 3.4, 1e9, math.nan, math.inf])
    assert 2.5 < low < 3.0
    assert 3.4 < high < 4.0
    assert limits([]) == (0.0, 1.0)
    low, high = limits([2.0, 2.0])
    assert low < 2.0 < high


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_a_whole_study_is_drawn(tmp_path: Path, goal: str) -> None:
    _assert_drawn(plots.draw(write(tmp_path, goal), tmp_path / "out"))


def test_a_study_without_a_completed_trial_is_drawn(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.trial(VALUES, [5.0, math.nan], "diverged")
    study.trial(VALUES, [math.inf], "diverged")
    study.trial(VALUES, [], "failed")
    study.trial(VALUES, [1e30, -1e30, 4.0], "stopped")
    _assert_drawn(plots.draw(study.state(), tmp_path / "out"))


def test_a_study_without_any_trial_is_drawn_and_reported(tmp_path: Path) -> None:
    state = _study(tmp_path).state()
    text = report.write(state, tmp_path / "out", tmp_path).read_text()
    _assert_drawn([tmp_path / "out" / name for name in PNGS])
    assert "No trial has completed its full budget yet" in text


def test_a_single_trial_with_a_single_value_is_drawn(tmp_path: Path) -> None:
    study = _study(tmp_path, rungs=[1 / 9])
    study.trial(VALUES, [4.0], "completed")
    assert [trial.id for trial in ranked(study.state())] == ["0000"]
    _assert_drawn(plots.draw(study.state(), tmp_path / "out"))


def test_awkward_parameters_are_drawn_and_reported(tmp_path: Path) -> None:
    parameters: dict[str, Any] = {
        "n" * 100: {"type": "float", "low": 1e-5, "high": 1e-5, "log": True, "step": None},
        "cost $x_1$ | `y`": {"type": "int", "low": 3, "high": 3, "log": False, "step": None},
        "mixed": _choice(MIXED),
        "many": _choice(["long choice " * 9 + str(n) for n in range(60)]),
    }
    study = _study(tmp_path, parameters=parameters)
    for number, item in enumerate(MIXED):
        choice = parameters["many"]["values"][number]
        values = {"n" * 100: 1e-5, "cost $x_1$ | `y`": 3, "mixed": item, "many": choice}
        study.trial(values, _full(4.0 + number), kind="search" if number else "baseline")
    study.trial({"n" * 100: 0, "mixed": 1.0}, _full(3.0))
    state = study.state()
    text = report.write(state, tmp_path / "out", tmp_path).read_text()
    _assert_drawn([tmp_path / "out" / name for name in PNGS])
    assert r"cost \$x_1\$ \| \`y\`" in text


def test_of_200_parameters_12_are_drawn(tmp_path: Path) -> None:
    study = _study(tmp_path, parameters={f"p{n}": _choice([0, 1]) for n in range(200)})
    for number in range(3):
        study.trial({f"p{n}": number % 2 for n in range(200)}, _full(4.0 + number))
    state = study.state()
    text = report.write(state, tmp_path / "out", tmp_path).read_text()
    _assert_drawn([tmp_path / "out" / name for name in PNGS])
    assert "8 of 200 hyper-parameters" in text


def test_a_study_that_searches_nothing_has_learning_curves_only(tmp_path: Path) -> None:
    study = _study(tmp_path, parameters={"size": {"type": "fixed", "value": "nano"}})
    study.trial({}, _full(4.0), kind="baseline")
    state = study.state()
    text = report.write(state, tmp_path / "out", tmp_path).read_text()
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == PNGS[:1]
    assert PNGS[1] not in text


@pytest.mark.parametrize("unit", ["epochs", "seconds"])
def test_budgets_in_other_units_are_drawn_and_told(tmp_path: Path, unit: str) -> None:
    budget = {"unit": unit, "amount": 0.5, "trials": 2, "evaluations": 9}
    study = _study(tmp_path, budget=budget)
    study.trial(VALUES, _full(4.0))
    text = report.write(study.state(), tmp_path / "out", tmp_path).read_text()
    _assert_drawn([tmp_path / "out" / name for name in PNGS])
    assert f"| budget of a trial | 0.5 {unit} |" in text


def test_a_report_is_the_same_bytes_when_made_again(tmp_path: Path) -> None:
    state = write(tmp_path)
    first, second = tmp_path / "first", tmp_path / "second"
    report.write(state, first, tmp_path)
    report.write(state, second, tmp_path)
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted([report.FILE_NAME, *PNGS])
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_commands_to_go_on_name_the_study_and_where_it_is_kept(tmp_path: Path) -> None:
    kept, elsewhere = tmp_path / "studies" / "my study", tmp_path / "other" / "s"
    for folder in (kept, elsewhere):
        folder.mkdir(parents=True)
    text = report.write(write(kept), kept / "report", kept).read_text()
    assert "\npython -m tune_app show 'my study'\n" in text
    assert "resume" not in text
    assert str(tmp_path) not in text
    text = report.write(_study(elsewhere).state(), elsewhere / "report", elsewhere).read_text()
    assert f"\npython -m tune_app resume s --storage {elsewhere.parent}\n" in text


def test_a_report_touches_nothing_outside_of_its_folder(tmp_path: Path) -> None:
    state = write(tmp_path)
    outside = tmp_path / "outside.md"
    outside.write_text("mine")
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / report.FILE_NAME).symlink_to(outside)
    report.write(state, folder, tmp_path)
    assert outside.read_text() == "mine"
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {"journal.jsonl", "outside.md", "report"}


def test_a_report_tells_what_was_found_and_what_it_cannot_tell(tmp_path: Path) -> None:
    text = report.write(write(tmp_path), tmp_path / "report", tmp_path).read_text()
    assert text.startswith("# quickstart\n")
    for fact in (
        "lower than the untuned defaults (6.1",
        "(at 33 %)",
        "NaN (at 44 %)",
        "400,000",
        "trial 0009 did not fit into memory: 1.2 GB more than the worker has",
        "`optim` = adamw_apex_fused: no apex",
        "What mattered",
        "| `learning_rate` | ",
        "one seed",
        "![Learning curves of all trials](learning_curves.png)",
        "`../checkpoints/0002/step-400`",
        "| torch | 2.13.0 |",
    ):
        assert fact in text, fact


def test_a_best_value_at_the_edge_of_the_space_is_pointed_out(tmp_path: Path) -> None:
    study = _study(tmp_path)
    study.trial(VALUES | {"learning_rate": 9.9e-3, "warmup_steps": 50}, _full(3.0))
    text = report.write(study.state(), tmp_path / "report", tmp_path).read_text()
    assert "The best `learning_rate` lies at the edge" in text
    assert "The best `warmup_steps` lies at the edge" not in text


def test_every_row_of_every_table_has_as_many_cells_as_its_header(tmp_path: Path) -> None:
    study = _study(tmp_path, name="a|b", description="# no heading")
    hostile = "| x | <script>alert(1)</script>\n\n# heading\n![i](http://e.xx/i.png) `a|b` $1$"
    study.append("finding", text=hostile)
    study.append("choice_dropped", parameter="optim|x", value="`|`", reason=hostile)
    study.trial(VALUES, [], "failed", reason=hostile)
    study.trial(VALUES, _full(3.0), samples={"untrained": hostile, "trained": hostile})
    text = report.write(study.state(), tmp_path / "report", tmp_path).read_text()
    width = None
    for line in text.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
        assert cells is None or width is None or cells == width, line
        width = cells
    assert "<script>" not in text
    assert "\n# heading" not in text
    assert "\n# no heading" not in text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a|b", r"a\|b"),
        ("one\ntwo\r\nthree\u2028four", "one<br>two<br>three<br>four"),
        ("![x](http://y)", r"!\[x\](http\://y)"),
        ("<img onerror=x>&amp;", "&lt;img onerror=x&gt;&amp;amp;"),
        ("snake_case and _em_ a__b", r"snake_case and \_em\_ a\_\_b"),
        ("**bold** `code` \\", r"\*\*bold\*\* \`code\` \\"),
        ("# title", r"\# title"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("0.5 of 3e-4", "0.5 of 3e-4"),
        ("www.x.org, a@b.c", r"www\.x.org, a\@b.c"),
        ("\x1b[31mred\u202e", r"\[31mred"),
    ],
)
def test_text_shows_as_it_is_in_markdown(raw: str, shown: str) -> None:
    assert markdown.text(raw) == shown


def test_analysis_needs_no_training_library_and_no_display(tmp_path: Path) -> None:
    write(tmp_path)
    script = """
import sys
from pathlib import Path
from tune_app.core.journal import read
from tune_app.core.state import rebuild
from tune_app.analysis import format, report, summary
state = rebuild(read(Path(sys.argv[1]) / "journal.jsonl")[0])
summary.summarise(state)
assert "matplotlib" not in sys.modules, "matplotlib is imported before anything is drawn"
report.write(state, Path(sys.argv[1]) / "report", Path(sys.argv[1]))
heavy = {"ray", "torch", "transformers", "wandb", "pandas", "matplotlib.pyplot"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=120)
