"""Beliefs about good values: what they do to draws, how they fade, how a law fills them in."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from tests.support.searches import state_of
from tests.support.simulated import Simulation, defined, document, redefine
from trainables import causal_lm
from tune_app.budget import Epoch, Unit
from tune_app.core.definition import Budget
from tune_app.core.state import StudyState
from tune_app.errors import UserError
from tune_app.plugins import make
from tune_app.searchers import random as random_search
from tune_app.searchers import tpe
from tune_app.searchers._priors import FADING, SHARE, share
from tune_app.space import prior
from tune_app.space.domains import Choice, Domain, Fixed, Float, Int, Space, contains, to_document
from tune_app.space.prior import Belief
from tune_app.study import file as study_file
from tune_app.study.parsed import ParsedStudy
from tune_app.training import trainable
from tune_app.training.preflight import step_law

RATE = Float(1e-5, 1e-1, log=True)
SPACE: Space = {"lr": RATE, "optim": Choice(("a", "b", "c"))}
BELIEFS = {"lr": Belief(5e-4, octaves=1), "optim": Belief("b", weight=8)}
EPOCH = Epoch(samples=10_000, batch_size=8, accumulation=2, tokens_per_sample=128)


def draws(domain: Domain, belief: Belief, number: int = 2_000) -> list[Any]:
    rng = random.Random(0)
    return [prior.draw(domain, belief, rng) for _ in range(number)]


def test_a_number_is_drawn_so_many_octaves_around_its_value() -> None:
    octaves = [math.log2(value / 1e-3) for value in draws(RATE, Belief(1e-3, octaves=1.5))]
    assert abs(mean(octaves)) < 0.15
    assert stdev(octaves) == pytest.approx(1.5, abs=0.1)


def test_a_width_is_in_the_parameters_own_units() -> None:
    values = draws(Float(-10, 10), Belief(2.0, width=0.5))
    assert mean(values) == pytest.approx(2, abs=0.05)
    assert stdev(values) == pytest.approx(0.5, abs=0.05)


def test_a_choice_is_so_many_times_as_likely_and_keeps_its_own_weights() -> None:
    counts = Counter(draws(Choice(("a", "b", "c")), Belief("b", weight=3)))
    assert counts["b"] / counts["a"] == pytest.approx(3, rel=0.2)
    weighed = Counter(draws(Choice(("a", "b"), (0.9, 0.1)), Belief("b", weight=9)))
    assert weighed["b"] / weighed["a"] == pytest.approx(1, rel=0.15)


def test_numbers_that_are_choices_are_believed_in_by_their_distance() -> None:
    counts = Counter(draws(Choice((4, 8, 16, 64)), Belief(16, octaves=1)))
    assert [value for value, _ in counts.most_common(2)] == [16, 8]
    assert Counter(draws(Choice((4, 8)), Belief(10**9, octaves=0.01)))[8] > 1990


@pytest.mark.parametrize(
    "domain",
    [
        RATE,
        Float(0.5, 8.0),
        Float(1.0, 7.0, step=0.5),
        Int(1, 64),
        Int(2, 64, log=True),
        Int(8, 512, log=True, step=8),
        Int(1, 9, step=4),
        Choice((1, 2, 3)),
    ],
)
@pytest.mark.parametrize("value", [1e-9, 0.01, 3, 1e9])
def test_draws_stay_inside_the_domain_wherever_the_belief_is(domain: Domain, value: float) -> None:
    for item in draws(domain, Belief(value, octaves=1), 200):
        assert contains(domain, item)
        assert type(item) is (float if isinstance(domain, Float) else int)


def test_the_first_trial_follows_the_prior_and_some_of_the_next_ones() -> None:
    state = state_of(SPACE)
    redefine(state, beliefs=BELIEFS)
    first = [random_search.create(SPACE, seed).suggest(state, 0) for seed in range(60)]
    rates = [math.log2(params["lr"] / 5e-4) for params in first if params]
    assert stdev(rates) < 1.3
    assert sum(params["optim"] == "b" for params in first if params) > 40
    begun = state_of(SPACE, ({"lr": 1e-4, "optim": "a"}, None, None))
    redefine(begun, beliefs=BELIEFS)
    searcher = random_search.create(SPACE, 0)
    followed = sum(bool(searcher.followed(begun, number)) for number in range(1, 401))
    assert followed == pytest.approx(400 * SHARE, rel=0.3)


@pytest.mark.parametrize("searcher", ["random", "quasirandom", "tpe", "gp", "bohb", "auto"])
def test_the_untuned_baseline_is_not_the_first_trial(searcher: str) -> None:
    begun = document(searcher=searcher, trials=2, prior={"x": {"value": 0.2, "width": 0.01}})
    baseline, first = Simulation(begun).run().trials.values()
    assert baseline.params == {"x": 0.9}
    assert first.params["x"] == pytest.approx(0.2, abs=0.05)


def test_a_prior_is_borne_out_by_the_trials_in_which_its_parameter_counts() -> None:
    space: Space = {"kind": Choice(("a", "b")), "depth": Float(0.0, 1.0)}
    belief = {"depth": Belief(0.5, width=0.1)}
    deep = [({"kind": "b", "depth": 0.5 + n / 30}, 1 + n / 30, "completed") for n in range(12)]
    flat = [({"kind": "a"}, 0.5 + n, "completed") for n in range(4)]
    alone = share(state_of(space, *deep), space, belief)
    assert alone > share(state_of(space, *deep, *flat), space, belief) > SHARE


def test_a_prior_is_followed_as_far_as_the_trials_bear_it_out() -> None:
    line: Space = {"lr": RATE}
    belief = {"lr": Belief(5e-4, octaves=1)}
    distances = [0.2 * number for number in range(12)]

    def found(loss: Callable[[float], float]) -> float:
        ended = [({"lr": 5e-4 * 2**far}, loss(far), "completed") for far in distances]
        return share(state_of(line, *ended), line, belief)

    unsure = found(lambda far: 1.0)
    assert unsure == pytest.approx(SHARE * FADING / (FADING + 12))
    assert found(lambda far: far) > 2 * unsure
    assert found(lambda far: -far) == 0


def test_a_prior_fades_with_the_trials_told_of() -> None:
    line: Space = {"lr": RATE}
    belief = {"lr": Belief(5e-4, octaves=1)}
    shares = []
    for count in (32, 96):
        alike = [({"lr": 1e-5 * 1.03**number}, 1.0, "completed") for number in range(count)]
        shares.append(share(state_of(line, *alike), line, belief))
    assert shares == pytest.approx([SHARE / 2, SHARE / 4])


def test_a_wrong_prior_does_not_keep_random_from_covering_the_range() -> None:
    line: Space = {"lr": RATE}
    ended = [({"lr": 1e-5 * 1.01**i}, 1.0, "completed") for i in range(90)]
    state = state_of(line, *ended)
    redefine(state, beliefs={"lr": Belief(1e-5, octaves=0.1)})
    asked = [random_search.create(line, 0).suggest(state, 90 + n) for n in range(200)]
    octants = Counter(int(2 * math.log10(params["lr"] / 1e-5)) for params in asked if params)
    assert all(octants[part] >= 10 for part in range(8))


def test_tpe_starts_from_the_prior_and_outgrows_a_wrong_one() -> None:
    state = state_of(SPACE)
    redefine(state, beliefs=BELIEFS)
    by_random = random_search.create(SPACE, 3).suggest(state, 4)
    assert tpe.create(SPACE, 3, startup=5).suggest(state, 4) == by_random
    ended = [
        ({"lr": 1e-5 * 1.04**i, "optim": "ab"[i % 2]}, abs(i - 30) + 9 * (i % 2), "completed")
        for i in range(160)
    ]
    believing = state_of(SPACE, *ended)
    redefine(believing, beliefs=BELIEFS)
    searcher = tpe.create(SPACE, 3, startup=5)
    asked = [searcher.suggest(believing, 160 + number) for number in range(20)]
    assert sum(params["optim"] == "a" for params in asked if params) > 12


def test_a_prior_leaves_a_grid_as_it_is() -> None:
    space: Space = {"a": Choice((1, 2, 3))}
    study = defined(
        searcher="grid",
        parameters={"a": to_document(space["a"])},
        prior={"a": {"value": 3, "weight": 99}},
    )
    assert make.searcher(study).suggest(StudyState(study=study), 0) == {"a": 1}


HEAD = """
parameters:
  lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-3}
  decay: {min: 0.0, max: 0.3}
  optim: {values: [a, b]}
  batch: {values: [4, 8]}
  size: {value: nano}
"""


def load(tmp_path: Path, tune: str) -> ParsedStudy:
    path = tmp_path / "study.yaml"
    path.write_text(f"{HEAD}tune: {{{tune}}}", encoding="utf-8")
    return study_file.load(path, now=datetime(2030, 1, 2))


@pytest.mark.parametrize(
    ("belief", "words"),
    [
        ("prior: {lrr: {value: 1, octaves: 1}}", "did you mean 'lr'?"),
        ("prior: {lr: {value: 1}}", "neither octaves, width nor weight"),
        ("prior: {lr: {value: 1, octaves: 1, width: 1}}", "octaves and width given"),
        ("prior: {lr: {value: 1, octave: 1}}", "did you mean 'octaves'?"),
        ("prior: {lr: {octaves: 1}}", "prior.lr has no value"),
        ("prior: {lr: {value: 1, octaves: 0}}", "greater than 0"),
        ("prior: {lr: {value: fast, octaves: 1}}", "for numbers"),
        ("prior: {lr: {value: 0.001, width: 0.1}}", "a logarithmic range has no width"),
        ("prior: {lr: {value: 0.001, weight: 2}}", "a range has no weight"),
        ("prior: {decay: {value: 0.1, octaves: 1}}", "numbers above 0"),
        ("prior: {optim: {value: c, weight: 2}}", "'c' is not among the values"),
        ("prior: {optim: {value: a, octaves: 2}}", "{value: …, weight: …}"),
        ("prior: {step_law: {octaves: 0.5}}", "greater than or equal to 1"),
        ("prior: {step_law: {octave: 2}}", "did you mean 'octaves'?"),
        ("prior: step_low", "'step_low' does not fit"),
        ("prior: step_law, budget: {steps: 100}", "a budget in tokens or epochs"),
        ("prior: step_law, budget: {seconds: 100}", "a budget in tokens or epochs"),
    ],
)
def test_a_belief_that_makes_no_sense_is_refused(tmp_path: Path, belief: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, belief)
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 1
    assert words in told[0]
    assert "tune.prior" in told[0]


def test_legal_beliefs_reach_the_document_and_odd_ones_are_told(tmp_path: Path) -> None:
    text = (
        "lr: {value: 0.01, octaves: 2}, batch: {value: 8, octaves: 1}, size: {value: 1, width: 1}"
    )
    loaded = load(tmp_path, f"prior: {{{text}}}")
    assert loaded.to_definition().prior == {
        "lr": Belief(0.01, octaves=2),
        "batch": Belief(8, octaves=1),
    }
    told = [note.split(" is ")[0] for note in loaded.notes if "prior" in note]
    assert told == [
        "the prior of lr",
        "the prior of size",
    ]
    assert load(tmp_path, "").to_definition().beliefs == {}


def test_a_belief_can_be_added_to_the_law_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"{HEAD}tune: {{prior: step_law, budget: {{tokens: 100}}}}", encoding="utf-8")
    loaded = study_file.load(path, ["prior.lr={value: 5e-4, octaves: 1}"])
    assert loaded.tune.prior.step_law is not None
    assert list(loaded.tune.prior.beliefs) == ["lr"]


def law(
    space: Space, loaded: Any = None, epoch: Epoch = EPOCH, **changes: Any
) -> tuple[dict[str, Belief], list[str]]:
    study = defined(
        trainable="causal_lm",
        parameters={name: to_document(domain) for name, domain in space.items()},
        budget={"unit": "tokens", "amount": 1e9, "trials": 3, "evaluations": 9},
        prior={"step_law": {"octaves": 2}},
    )
    made = replace(study, **changes)
    return step_law.fill_in(made, loaded or trainable.load("causal_lm"), epoch)


def test_the_law_gives_what_its_paper_says() -> None:
    """Two points worked out by hand from 1.79 N^-0.713 D^0.307 and 0.58 D^0.571."""
    assert step_law.learning_rate(10**9, 1e11) == pytest.approx(1.63e-3, rel=0.01)
    assert step_law.batch_tokens(1e11) == pytest.approx(1.11e6, rel=0.01)


def test_the_law_fills_in_learning_rate_and_batch_and_names_its_source() -> None:
    space: Space = {
        "learning_rate": RATE,
        "per_device_train_batch_size": Choice((64, 128, 512)),
        "size": Fixed("small"),
    }
    beliefs, (note,) = law(space)
    rate = step_law.learning_rate(12 * 12 * 768**2, 1e9)
    assert beliefs["learning_rate"].value == pytest.approx(rate, rel=1e-3)
    batch = step_law.batch_tokens(1e9) / (2 * 128)
    assert beliefs["per_device_train_batch_size"].value == pytest.approx(batch, rel=1e-3)
    assert {belief.octaves for belief in beliefs.values()} == {2}
    assert "arXiv 2503.04715" in note
    assert "84,934,656 parameters" in note
    assert "far larger" not in note


def test_the_law_divides_its_batch_among_the_processes() -> None:
    space: Space = {"per_device_train_batch_size": Choice((2, 512)), "size": Fixed("small")}
    found = [
        law(space, epoch=replace(EPOCH, processes=processes))[0][
            "per_device_train_batch_size"
        ].value
        for processes in (1, 4)
    ]
    assert found[0] == pytest.approx(4 * found[1], rel=1e-3)


def test_the_law_says_what_it_cannot_do() -> None:
    space: Space = {
        "learning_rate": Float(1e-6, 1e-5, log=True),
        "per_device_train_batch_size": Int(0, 8),
        "size": Choice(("nano", "micro")),
    }
    beliefs, (note,) = law(space)
    assert list(beliefs) == ["learning_rate"]
    assert "(outside of the searched 1e-06 to 1e-05)" in note
    assert "nothing for per_device_train_batch_size" in note
    assert "far larger models" in note
    assert "varies with size" in note


def test_a_belief_of_the_file_comes_before_the_law() -> None:
    own = {"learning_rate": Belief(1e-3, octaves=1)}
    beliefs, (note,) = law({"learning_rate": RATE}, beliefs=own)
    assert beliefs == own
    assert "neither learning_rate nor" in note


def test_epochs_are_counted_in_tokens_for_the_law() -> None:
    budget = Budget(Unit.EPOCHS, 2.0, trials=3, evaluations=9)
    _, (note,) = law({"learning_rate": RATE}, budget=budget)
    assert f"{2 * EPOCH.tokens:,} tokens" in note


def test_a_trainable_that_cannot_count_its_parameters_gets_no_law() -> None:
    with pytest.raises(UserError, match="does not tell how many parameters"):
        law({"learning_rate": RATE}, trainable.load("continue_causal_lm"))


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_the_count_of_parameters_is_that_of_the_model(architecture: str) -> None:
    from transformers import GPT2Config, GPT2Model, LlamaConfig, LlamaModel

    config = causal_lm.Config(architecture=architecture, size="micro")  # type: ignore[arg-type]
    if architecture == "gpt2":
        model = GPT2Model(GPT2Config(vocab_size=8, n_positions=8, n_embd=128, n_layer=4, n_head=4))
    else:
        sizes = {"hidden_size": 128, "intermediate_size": 352, "num_attention_heads": 4}
        model = LlamaModel(LlamaConfig(vocab_size=8, num_hidden_layers=4, **sizes))
    real = sum(weights.numel() for weights in model.parameters())
    assert causal_lm.parameters(config) == pytest.approx(real, rel=0.05)


def test_a_belief_in_a_number_beyond_all_floats_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="are for numbers"):
        load(tmp_path, f"prior: {{lr: {{value: {'9' * 400}, octaves: 1}}}}")
