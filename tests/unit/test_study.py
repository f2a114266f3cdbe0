"""Study files, overrides and the document that the journal keeps."""

from __future__ import annotations

import json
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tune_app.budget import Unit
from tune_app.core.definition import StudyDefinition
from tune_app.core.state import StudyState
from tune_app.errors import Problem, UserError
from tune_app.plugins import make
from tune_app.space.domains import Choice, Fixed, Float, Int
from tune_app.storage import catalogue
from tune_app.study import file as study_file
from tune_app.study import tune_section, yaml_source
from tune_app.study.parsed import DEFAULT_TRIALS, ParsedStudy

ROOT = Path(__file__).parents[2]
# Sweep files of public repositories, where a collection of them lies beside the checkout.
SWEEPS = sorted((ROOT.parent / "shared" / "sweeps").glob("*.y*ml"))
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
NOON = datetime(2030, 1, 2, 12, 0, 0)
TEXT = """
name: small
method: random
metric: {name: final_eval_loss, goal: minimize}
run_cap: 7
parameters:
  lr: {min: 1e-5, max: 1e-3, distribution: log_uniform_values}
  optim: {values: [a, b, 1, "1", true]}
  size: {value: nano}
tune:
  budget: {tokens: 1000, evaluations: 4}
  scheduler: {name: asha, eta: 2}
  prompt: Привет
"""


def load(tmp_path: Path, text: str = TEXT, *overrides: str, name: str | None = None) -> ParsedStudy:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return study_file.load(path, overrides, name, now=NOON)


def problems(tmp_path: Path, text: str = TEXT, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text, *overrides)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.name)
def test_the_search_spaces_that_come_with_it_load(path: Path) -> None:
    assert study_file.load(path).searcher.name == "auto"


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.name)
def test_a_document_is_strict_json_and_builds_the_plug_ins(path: Path) -> None:
    document = json.loads(
        json.dumps(study_file.load(path, now=NOON).to_definition().to_document(), allow_nan=False)
    )
    study = StudyDefinition.from_document(document)
    assert json.loads(json.dumps(study.to_document())) == document
    assert study.rungs == make.scheduler(study).rungs
    assert make.searcher(study).suggest(StudyState(study=study), 1)


@pytest.mark.parametrize(
    ("override", "keys", "value"),
    [
        ("budget.steps=5", ("budget", "unit"), "steps"),
        ("budget.seconds=3.5", ("budget", "amount"), 3.5),
        ("budget.tokens=2e7", ("budget", "amount"), 20_000_000),
        ("searcher={name: tpe, startup: 3}", ("searcher", "startup"), 3),
        ("scheduler=fifo", ("rungs",), [1.0]),
        ("scheduler.eta=4", ("scheduler", "eta"), 4),
        ("trackers=[]", ("trackers",), []),
        ("metric.goal=maximize", ("metric", "goal"), "maximize"),
        ("project=p", ("project",), "p"),
        ("resources={cpu: 2, gpu: 0.5}", ("resources", "gpu"), 0.5),
        ("resources={processes: 4, gpu: 1}", ("resources", "processes"), 4),
        ("accelerator=cpu", ("accelerator",), "cpu"),
        ("seed=9", ("seed",), 9),
        ("prompt=Люди", ("prompt",), "Люди"),
        ("parameters.size.value=micro", ("parameters", "size", "value"), "micro"),
    ],
)
def test_an_override_reaches_the_document(
    tmp_path: Path, override: str, keys: tuple[str, ...], value: Any
) -> None:
    found: Any = load(tmp_path, TEXT, override).to_definition().to_document()
    for key in keys:
        found = found[key]
    assert found == value


SEEDS = """metric: {name: final_eval_loss}
parameters: {seed: {values: [0, 1, 2]}, optim: {values: [a, b]}}
"""
EARLY = "early_terminate: {type: hyperband, min_iter: 3}"


@pytest.mark.parametrize(
    ("text", "changes", "scheduler", "note"),
    [
        ("method: grid", [], "fifo", ":1:1 method: a grid runs completely"),
        ("method: bayes", ["searcher=grid"], "fifo", "searcher=grid: a grid runs completely"),
        ("method: grid", ["scheduler=auto"], "auto", None),
        ("method: grid", ["scheduler.eta=4"], "asha", None),
        (f"method: grid\n{EARLY}", [], "asha", "early_terminate: read as asha"),
        (f"method: grid\n{EARLY}", ["scheduler=auto"], "auto", "early_terminate: not used"),
        ("method: grid", ["searcher=random"], "auto", None),
        ("method: bayes", [], "auto", None),
    ],
)
def test_a_grid_is_run_whole_unless_a_scheduler_is_asked_for(
    tmp_path: Path, text: str, changes: list[str], scheduler: str, note: str | None
) -> None:
    loaded = load(tmp_path, f"{text}\n{SEEDS}", *changes)
    defined = loaded.to_definition()
    assert defined.scheduler.name == scheduler
    assert (defined.rungs == (1.0,)) == (scheduler == "fifo")
    assert len(loaded.notes) == (note is not None)
    assert all(note is not None and note in line for line in loaded.notes)


def test_the_scheduler_is_asha_where_only_its_options_are_given(tmp_path: Path) -> None:
    loaded = load(tmp_path, "parameters: {lr: {min: 0.1, max: 0.2}}", "scheduler.eta=4")
    assert (loaded.tune.scheduler.name, loaded.tune.scheduler.options) == ("asha", {"eta": 4})


def test_a_grid_runs_to_its_end_when_nothing_limits_it(tmp_path: Path) -> None:
    text = "method: grid\nparameters: {a: {values: [1, 2, 3]}, b: {values: [x, y]}}"
    assert load(tmp_path, text).trials == 7
    assert load(tmp_path, text, "baseline=false").trials == 6
    assert load(tmp_path, text, "run_cap=4").trials == 4


def test_a_plain_sweep_needs_no_tune_section(tmp_path: Path) -> None:
    loaded = load(tmp_path, "parameters: {lr: {min: 0.1, max: 0.2}}")
    assert (loaded.unit, loaded.amount, loaded.trials) == (Unit.EPOCHS, 1.0, DEFAULT_TRIALS)
    assert loaded.searcher.name == "auto"
    assert loaded.tune.scheduler.name == "auto"
    assert loaded.to_definition().rungs == (1 / 9, 1 / 3, 1.0)
    few = load(tmp_path, "run_cap: 4\nparameters: {lr: {min: 0.1, max: 0.2}}")
    assert few.to_definition().rungs == (1 / 3, 1.0)


def test_the_number_of_trials_is_the_budgets_then_the_run_cap(tmp_path: Path) -> None:
    assert load(tmp_path).trials == 7
    assert load(tmp_path, TEXT, "budget.trials=3").trials == 3
    assert load(tmp_path, TEXT, "run_cap=5").trials == 5


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("prefix", ["", "tune."])
def test_another_unit_replaces_the_budget_of_the_file(
    tmp_path: Path, unit: Unit, prefix: str
) -> None:
    loaded = load(tmp_path, TEXT, f"{prefix}budget.{unit}=12")
    assert (loaded.unit, loaded.amount) == (unit, 12)
    assert loaded.tune.budget.evaluations == 4


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("parameters.lr.value=0.1", Fixed(0.1)),
        ("parameters.lr.values=[1, 2]", Choice((1, 2))),
        ("parameters.lr.max=0.5", Float(1e-5, 0.5, log=True)),
        ("parameters.lr.distribution=uniform", Float(1e-5, 1e-3)),
        ("parameters.optim.value=a", Fixed("a")),
        ("parameters.optim.values=[x, y]", Choice(("x", "y"))),
        ("parameters.size.values=[nano, mini]", Choice(("nano", "mini"))),
        ("parameters.lr={min: 1, max: 3}", Int(1, 3)),
    ],
)
def test_another_form_of_a_parameter_replaces_the_one_in_the_file(
    tmp_path: Path, override: str, expected: Any
) -> None:
    name = override.split("=")[0].split(".")[1]
    assert repr(load(tmp_path, TEXT, override).space[name]) == repr(expected)


def test_a_value_becomes_a_range_when_both_ends_are_set(tmp_path: Path) -> None:
    loaded = load(tmp_path, TEXT, "parameters.size.min=1", "parameters.size.max=4")
    assert loaded.space["size"] == Int(1, 4)


def test_plugins_can_be_named_alone_and_given_options(tmp_path: Path) -> None:
    loaded = load(tmp_path, TEXT, "scheduler=fifo", "searcher=tpe", "searcher.startup=3")
    assert loaded.tune.scheduler.name == "fifo"
    assert loaded.searcher.model_dump() == {"name": "tpe", "startup": 3}
    assert load(tmp_path, TEXT, "scheduler.eta=4").tune.scheduler.options == {"eta": 4}


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("budgte.tokens=5", "did you mean 'budget'?"),
        ("budget.token=5", "did you mean 'tokens'?"),
        ("tune.budgt.tokens=5", "did you mean 'budget'?"),
        ("lr=5", "parameters.lr.value"),
        ("parameters.lrr.value=5", "did you mean 'lr'?"),
        ("parameters.lr.vlaue=5", "did you mean 'value'?"),
        ("metod=grid", "did you mean 'method'?"),
        ("method=gird", "did you mean 'grid'?"),
        ("scheduler=ahsa", "did you mean 'asha'?"),
        ("scheduler.etaa=3", "did you mean 'eta'?"),
        ("searcher={startup: 3}", "searcher has no name"),
        ("scheduler.eta=1", "a number above 1"),
        ("searcher={name: tpe, startup: 0}", "above 0"),
        ("trackers=[wandbb]", "did you mean 'wandb'?"),
        ("budget.tokens=0", "greater than 0"),
        ("budget.epochs=.inf", "finite"),
        ("resources.cpu=.nan", "finite"),
        ("resources.cpu=0", "greater than 0"),
        ("resources.processes=0", "greater than 0"),
        ("resources.gpu=2", "write processes: 2, gpu: 1"),
        ("resources={gpu: 1.5, processes: 2}", "write processes: 3, gpu: 1"),
        ("resources={gpu: 0.5, processes: 2}", "write processes: 1, gpu: 1"),
        ("seed=-1", "greater than or equal to 0"),
        ("tune=5", "not a mapping"),
        ("parameters=5", "not a mapping"),
        ("parameters.lr=[5]", "two ways"),
        ("parameters.lr.min.x=5", "has no keys"),
        ("budget.tokens", "KEY=VALUE"),
        ("=5", "KEY=VALUE"),
        ("a..b=5", "KEY=VALUE"),
        ("budget.tokens=[1", "--set"),
        ("searcher=grid", "a grid needs"),
        ("searcher=os.path", "no function create"),
        ("searcher=no.such.module", "cannot be imported"),
        ("searcher=..", "cannot be imported"),
        ("searcher=missing.py", "no such file"),
        ("accelerator=tpu", "'auto' or 'cpu'"),
    ],
)
def test_a_wrong_override_is_told_with_a_hint(tmp_path: Path, override: str, hint: str) -> None:
    told = problems(tmp_path, TEXT, override)
    assert any(hint in text for text in told), told


@pytest.mark.parametrize("parameters", ["parameters:", "parameters: 3", "parameters: [lr]", ""])
def test_an_override_of_a_file_without_parameters_is_no_traceback(
    tmp_path: Path, parameters: str
) -> None:
    assert problems(tmp_path, f"method: random\n{parameters}", "lr=3")
    assert problems(tmp_path, f"method: random\n{parameters}", "parameters.lr.value=3")


def test_all_overrides_that_are_wrong_are_told_at_once(tmp_path: Path) -> None:
    assert len(problems(tmp_path, TEXT, "budgte.tokens=5", "lr=5", "nonsense")) == 3


def test_what_a_plugin_raises_as_it_is_made_is_told_with_the_other_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def create(space, seed):\n    return {}['nothing']\n")
    told = problems(tmp_path, TEXT, "scheduler.eta=0", f"searcher={path}")
    assert any(f"{path}, line 2: the searcher raised KeyError: 'nothing'" in t for t in told)
    assert any("scheduler.eta=0: 0 is not a reduction factor" in text for text in told)


def test_the_sweep_the_tune_section_and_the_plugins_are_told_together(tmp_path: Path) -> None:
    text = TEXT.replace("method: random", "method: bayse").replace("tokens: 1000", "tokens: x")
    told = problems(tmp_path, text)
    assert len(told) == 2
    assert all("study.yaml:" in text for text in told)
    told = problems(tmp_path, TEXT, "scheduler.eta=0", "searcher={name: tpe, startup: x}")
    assert len(told) == 2


def test_a_mistake_of_an_override_is_placed_in_the_override(tmp_path: Path) -> None:
    assert problems(tmp_path, TEXT, "budget.tokens=x")[0].startswith("--set budget.tokens=x")
    assert problems(tmp_path, TEXT, "method=x")[0].startswith("--set method=x")


def test_a_budget_has_one_unit(tmp_path: Path) -> None:
    told = problems(tmp_path, TEXT.replace("tokens: 1000", "tokens: 1000, steps: 3"))
    assert "tokens and steps given" in told[0]


BAD_NAMES = [
    "../x",
    "/abs",
    "a/b",
    ".",
    "..",
    "x" * 101,
    "-x",
    "a b",
    "a\n",
    "x.",
    ".hidden",
    "a\\b",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    assert catalogue.name_problems(name, "--name")
    with pytest.raises(UserError, match="cannot name a study"):
        load(tmp_path, TEXT, name=name)


def test_an_empty_name_is_refused() -> None:
    assert catalogue.name_problems("", "--name")


@pytest.mark.parametrize("name", ["a", "Школа-3", "x" * 100, "1.2_b"])
def test_an_ordinary_name_is_taken(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, TEXT, name=name).name == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("PPO Sweep", "PPO-Sweep-20300102-120000"),
        ("'../../etc'", "etc-20300102-120000"),
        ("'EST (FAN1VS3)'", "EST-FAN1VS3-20300102-120000"),
        ("'???'", "study-20300102-120000"),
        ("y" * 300, "y" * 80 + "-20300102-120000"),
    ],
)
def test_any_name_of_a_sweep_becomes_a_folder(tmp_path: Path, name: str, expected: str) -> None:
    loaded = load(tmp_path, f"name: {name}\nparameters: {{a: {{values: [1, 2]}}}}")
    assert loaded.name == expected
    assert not catalogue.name_problems(loaded.name, "")


def test_a_missing_file_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text("a: 1")
    with pytest.raises(UserError, match=r"did you mean 'quickstart\.yaml'"):
        study_file.load(tmp_path / "quickstrat.yaml")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_a_real_sweep_loads_or_is_told_what_is_wrong(path: Path) -> None:
    loaded, told = load_or_problems(path)
    for problem in told:
        assert problem.where.startswith(str(path))
        assert problem.where.removeprefix(str(path))[1:].split(":")[0].isdigit()
    if loaded is not None:
        assert json.dumps(loaded.to_definition().to_document(), allow_nan=False)


def load_or_problems(path: Path) -> tuple[ParsedStudy | None, tuple[Problem, ...]]:
    """Exactly one of the two; whatever else is raised goes up."""
    try:
        loaded = study_file.load(path)
    except UserError as error:
        if not error.problems:
            raise
        return None, error.problems
    return loaded, ()


def test_broken_files_are_never_a_traceback(tmp_path: Path) -> None:
    """Real sweeps, or the two that come with it, with a few characters or lines changed."""
    rng = random.Random(0)
    sources = [path.read_text(encoding="utf-8") for path in SWEEPS or SPACES]
    path = tmp_path / "mutant.yaml"
    loaded = []
    for _ in range(600):
        path.write_text(_mutant(rng.choice(sources), rng), encoding="utf-8")
        loaded.append(load_or_problems(path)[0] is not None)
    assert 0 < sum(loaded) < len(loaded)


PIECES = (
    "null", "[]", "{}", "-1", "1e999", ".nan", "true", "''", "'", '"', ": ", "- ", "#", "&a ", "*a",
    "{a: b}", "[1, [2]]", "!!int ", "\t", "<<: ", "0", "9" * 400, "uniform", "min", "values", "é",
)  # fmt: skip


def _mutant(text: str, rng: random.Random) -> str:
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        row = rng.randrange(len(lines))
        line = lines[row]
        match rng.randrange(5):
            case 0:
                at = rng.randint(0, len(line))
                lines[row] = line[:at] + rng.choice(PIECES) + line[at:]
            case 1:
                lines[row] = line.split(":")[0] + ": " + rng.choice(PIECES)
            case 2:
                lines[row] = line[: rng.randint(0, len(line))]
            case 3:
                lines[row] = rng.choice(lines)
            case _:
                lines[row] = " " * rng.randint(0, 6) + line.strip()
    return "\n".join(lines)


def test_values_of_every_shape_are_never_a_traceback(tmp_path: Path) -> None:
    """Each key of a full file, replaced by each kind of value."""
    values: list[str] = ["null", "[]", "{}", "-1", "1e999", ".nan", "true", "text", "[1, {a: 2}]"]
    keys = ["method", "metric", "metric.name", "metric.goal", "parameters", "parameters.lr"]
    keys += ["parameters.lr.min", "parameters.lr.distribution", "parameters.optim.values"]
    keys += ["name", "description", "project", "entity", "run_cap", "tune"]
    keys += [f"tune.{field}" for field in tune_section.TuneSection.model_fields]
    keys += [f"tune.budget.{field}" for field in tune_section.BudgetSection.model_fields]
    keys += [f"tune.resources.{field}" for field in tune_section.ResourcesSection.model_fields]
    keys += ["tune.scheduler.name", "tune.scheduler.eta", "tune.scheduler.rungs"]
    refused = 0
    for key in keys:
        for value in values:
            try:
                load(tmp_path, TEXT, f"{key}={value}").to_definition().to_document()
            except UserError:
                refused += 1
    assert refused > len(keys)


def test_the_text_of_the_tests_is_what_it_seems() -> None:
    assert yaml_source.parse(TEXT, "x").data["parameters"]["optim"]["values"][3] == "1"


QUOTED = """\
method: bayes
metric: {name: final_eval_loss, goal: minimize}
parameters:
  learning_rate: {min: 0.1, max: 1}
  optim: {values: ['1', '2']}
tune:
  budget: {tokens: "6e5", trials: '3'}
  baseline: "no"
  drop_impossible: Yes
  searcher: {name: tpe, startup: "3"}
  scheduler: {name: asha, eta: "4", rungs: '2'}
  resources: {cpu: "2"}
  prior:
    learning_rate: {value: "0.5", octaves: "2"}
    optim: {value: '1', weight: 2}
"""


def test_quoted_numbers_and_words_for_true_and_false_are_read_with_a_warning(
    tmp_path: Path,
) -> None:
    path = tmp_path / "quoted.yaml"
    path.write_text(QUOTED)
    found = study_file.read(path)
    assert found.study is not None, found.problems
    tune = found.study.tune
    assert (tune.budget.tokens, tune.budget.trials, tune.resources.cpu) == (600_000, 3, 2)
    assert (tune.baseline, tune.drop_impossible) == (False, True)
    assert found.study.searcher.options == {"startup": 3}
    assert tune.scheduler.options == {"eta": 4, "rungs": 2}
    assert tune.prior.beliefs["learning_rate"].value == 0.5
    assert tune.prior.beliefs["optim"].value == "1"
    told = [f"{item.where.removeprefix(str(path))} {item.what}" for item in found.warnings]
    assert len(told) == 10
    assert ":7:12 tune.budget.tokens '6e5' is read as the number 600000.0" in told
    assert ":8:3 tune.baseline 'no' is read as false" in told
    assert ":10:25 tune.searcher.startup '3' is read as the number 3" in told


@pytest.mark.parametrize("text", ["{seed: x}", "{baseline: '1'}", "{budget: {tokens: '1.5'}}"])
def test_a_text_that_stands_for_nothing_that_fits_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "quoted.yaml"
    path.write_text(f"method: random\nparameters: {{lr: {{min: 0.1, max: 1}}}}\ntune: {text}\n")
    assert study_file.read(path).problems


def test_what_is_wrong_below_an_anchor_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "anchor.yaml"
    path.write_text(
        "method: random\nparameters:\n"
        "  a: &a {distribution: q_uniform, min: 0.1, max: 0.3}\n  b: *a\n"
        "  c: {values: &v [1, 1, 2]}\n  d: {values: *v}\n"
        "  e: {distribution: q_uniform, min: 0.1, max: 0.3}\n"
    )
    found = study_file.read(path)
    places = [item.where.split(":", 1)[1] for item in found.problems]
    assert places == ["3:10 parameters.a.distribution", "7:7 parameters.e.distribution"]
    assert [item.where.split()[-1] for item in found.warnings] == ["parameters.c.values.1"]


@pytest.mark.parametrize("seed", ["9007199254740993", "1e20", "-1"])
def test_a_seed_that_is_too_large_is_told_what_is_not(tmp_path: Path, seed: str) -> None:
    path = tmp_path / "seed.yaml"
    path.write_text(f"method: random\nparameters: {{lr: {{value: 1}}}}\ntune: {{seed: {seed}}}\n")
    (problem,) = study_file.read(path).problems
    assert problem.where == f"{path}:3:8 tune.seed"
    assert "2147483648" in problem.expected or "0" in problem.expected
