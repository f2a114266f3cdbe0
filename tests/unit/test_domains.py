"""Domains: what is drawn, listed, contained and written down is the same set of values."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from typing import Any

import pytest

from tune_app.space import drawn
from tune_app.space.domains import (
    Choice,
    Domain,
    Drawn,
    Fixed,
    Float,
    Int,
    Space,
    contains,
    describe,
    fixed,
    from_document,
    grid,
    identity,
    sample,
    searched,
    snap,
    to_document,
    without,
)

MIXED = (1, 1.0, True, "1", None, [1, "a"], {"b": 2, "a": 1})
DOMAINS: list[Domain] = [
    Float(0.0, 1.0),
    Float(-3.5, 2.5),
    Float(1e-5, 1e-3, log=True),
    Float(0.0, 0.3, step=0.1),
    Float(0.0, 1.0, step=0.3),
    Float(0.0, 11.0, step=4.0),
    Float(-0.7, 0.7, step=0.1),
    Float(0.05, 0.9, log=True, step=0.05),
    Int(1, 10),
    Int(-5, 5),
    Int(0, 10, step=4),
    Int(8, 256, step=8),
    Int(1, 1000, log=True),
    Int(4, 1000, log=True, step=4),
    Drawn("uniform", 3.0, 16.0, 8),
    Drawn("uniform", 0.0, 1.0, 0.1),
    Drawn("log_uniform", 3.0, 300.0, 8),
    Drawn("normal", 2.0, 0.5),
    Drawn("normal", 10.0, 4.0, 2),
    Drawn("log_normal", -3.0, 1.0),
    Drawn("log_normal", 3.0, 1.0, 5),
    Drawn("beta", 2.0, 5.0),
    Drawn("beta", 0.8, 0.8, 0.1),
    Choice(MIXED),
    Choice(("a", "b", "c"), (0.7, 0.2, 0.1)),
    Fixed({"a": [1, None]}),
]


@pytest.mark.parametrize("domain", DOMAINS, ids=repr)
def test_a_draw_is_contained_and_listed(domain: Domain) -> None:
    rng = random.Random(1)
    values = grid(domain)
    listed = None if values is None else set(map(identity, values))
    for _ in range(500):
        value = sample(domain, rng)
        assert contains(domain, value)
        assert listed is None or identity(value) in listed


@pytest.mark.parametrize("domain", DOMAINS, ids=repr)
def test_what_is_listed_is_contained_drawn_and_different(domain: Domain) -> None:
    values = grid(domain)
    if values is None:
        stepped = isinstance(domain, Float) and domain.step is not None
        rounded = isinstance(domain, Drawn) and domain.q is not None and domain.bounded
        assert not stepped
        assert not rounded
        return
    assert len(set(map(identity, values))) == len(values)
    assert all(contains(domain, value) for value in values)
    if len(values) < 50:
        rng = random.Random(2)
        drawn = {identity(sample(domain, rng)) for _ in range(20_000)}
        assert drawn == set(map(identity, values))


@pytest.mark.parametrize("domain", DOMAINS, ids=repr)
def test_a_domain_survives_its_document_and_the_journal(domain: Domain) -> None:
    document = to_document(domain)
    assert from_document(document) == domain
    assert from_document(json.loads(json.dumps(document))) == domain
    copy = from_document(json.loads(json.dumps(document)))
    assert identity(to_document(copy)) == identity(document)


@pytest.mark.parametrize("seed", range(300))
def test_a_stepped_float_never_leaves_its_range(seed: int) -> None:
    rng = random.Random(seed)
    low = round(rng.uniform(-10, 10), rng.randint(0, 6))
    domain = Float(low, low + rng.uniform(0.001, 20), step=rng.choice([0.1, 0.3, 1e-3, 0.7, 7.0]))
    values = grid(domain)
    assert values is not None
    assert all(domain.low <= value <= domain.high for value in values)
    assert all(contains(domain, value) for value in values)
    for _ in range(30):
        value = sample(domain, rng)
        assert value in values


def test_a_step_that_does_not_divide_the_range_leaves_the_end_out() -> None:
    assert grid(Float(0.0, 11.0, step=4.0)) == [0.0, 4.0, 8.0]
    assert grid(Int(0, 11, step=4)) == [0, 4, 8]
    assert not contains(Float(0.0, 11.0, step=4.0), 11.0)
    assert not contains(Int(0, 11, step=4), 11)
    assert not contains(Float(0.0, 1.0, step=0.25), 0.3)


def test_steps_of_a_tenth_are_the_numbers_a_person_would_write() -> None:
    assert grid(Float(0.0, 0.7, step=0.1)) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert snap(0.31, 0.0, 0.7, 0.1) == 0.3


def test_both_ends_of_a_range_of_whole_numbers_are_drawn_as_often_as_the_others() -> None:
    for domain in (Int(1, 4), Int(10, 40, step=10)):
        rng = random.Random(3)
        counts = Counter(sample(domain, rng) for _ in range(8000))
        assert len(counts) == 4
        assert all(1800 < count < 2200 for count in counts.values())


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (Float(0, 1), math.nan),
        (Float(0, 1), "0.5"),
        (Float(0, 1), True),
        (Float(0, 1), None),
        (Float(0, 1), 1.0000001),
        (Int(0, 9), 1.0),
        (Int(0, 9), False),
        (Int(0, 9), 10),
        (Choice(("1", 2)), 1),
        (Choice((True, 2)), 1),
        (Fixed(1), 1.0),
    ],
)
def test_foreign_values_are_not_contained(domain: Domain, value: Any) -> None:
    assert not contains(domain, value)


def test_identity_tells_apart_what_python_calls_equal() -> None:
    assert len({identity(value) for value in (1, 1.0, True, "1", [1], {"1": 1}, "true")}) == 7
    assert identity({"a": 1, "b": 2}) == identity({"b": 2, "a": 1})


@pytest.mark.parametrize(
    "domain", [Float(1e-5, 1e-1, log=True), Float(0.5, 2000.0, log=True)], ids=repr
)
def test_logarithmic_draws_are_uniform_in_the_logarithm(domain: Float) -> None:
    """Kolmogorov and Smirnov; 1.95 / sqrt(n) is the critical distance at a level of 0.001."""
    rng, count = random.Random(4), 5000
    span = math.log(domain.high / domain.low)
    positions = sorted(math.log(sample(domain, rng) / domain.low) / span for _ in range(count))
    distance = max(abs(x - (i + 0.5) / count) for i, x in enumerate(positions))
    assert distance < 1.95 / math.sqrt(count)


def test_logarithmic_whole_numbers_are_as_likely_as_their_share_of_the_logarithm() -> None:
    """Chi-square with 7 degrees of freedom; 24.3 is its 0.999 quantile."""
    domain, rng, count = Int(1, 8, log=True), random.Random(5), 8000
    counts = Counter(sample(domain, rng) for _ in range(count))
    whole = math.log(8.5 / 0.5)
    expected = {n: count * math.log((n + 0.5) / (n - 0.5)) / whole for n in range(1, 9)}
    chi_square = sum((counts[n] - e) ** 2 / e for n, e in expected.items())
    assert chi_square < 24.3


def test_weights_are_probabilities() -> None:
    rng = random.Random(6)
    domain = Choice(("a", "b"), (0.9, 0.1))
    counts = Counter(sample(domain, rng) for _ in range(5000))
    assert 4350 < counts["a"] < 4650


def test_a_choice_is_taken_away_by_its_type_too() -> None:
    smaller = without(Choice(MIXED), True)
    assert isinstance(smaller, Choice)
    assert list(map(identity, smaller.values)) == [identity(v) for v in MIXED if v is not True]
    weighted = without(Choice(("a", "b", "c"), (0.5, 0.3, 0.2)), "b")
    assert weighted == Choice(("a", "c"), (0.5, 0.2))
    assert sample(weighted, random.Random(0)) in ("a", "c")


def test_the_last_choice_left_is_fixed() -> None:
    assert without(Choice(("a", "b"), (0.5, 0.5)), "a") == Fixed("b")


def test_ranges_too_long_to_list_are_not_listed() -> None:
    assert grid(Int(0, 2**53)) is None
    assert grid(Float(0.0, 1.0, step=1e-12)) is None
    assert grid(Float(2.0, 2.0)) == [2.0]


def test_a_space_is_split_into_what_varies_and_what_does_not() -> None:
    space: Space = {"a": Int(1, 2), "b": Fixed(None), "c": Choice((1, 2))}
    assert list(searched(space)) == ["a", "c"]
    assert fixed(space) == {"b": None}


@pytest.mark.parametrize("domain", DOMAINS, ids=repr)
def test_every_domain_can_be_described(domain: Domain) -> None:
    text = describe(domain)
    assert text
    assert "\n" not in text


@pytest.mark.parametrize("domain", [d for d in DOMAINS if isinstance(d, Drawn)], ids=repr)
def test_a_shape_is_searched_by_its_likelihood(domain: Drawn) -> None:
    for index in range(1, 100):
        value = drawn.from_unit(domain, index / 100)
        assert contains(domain, value)
        again = drawn.to_unit(domain, value)
        if domain.q is None:
            assert again == pytest.approx(index / 100, abs=1e-6)
        else:
            assert drawn.from_unit(domain, again) == pytest.approx(value, abs=domain.q)


def test_the_ends_of_a_rounded_range_are_drawn_less_often() -> None:
    rng = random.Random(5)
    counts = Counter(sample(Drawn("uniform", 3.0, 16.0, 8), rng) for _ in range(13_000))
    # [3, 4) is 0, [4, 12] is 8, (12, 16] is 16.
    assert counts[0] == pytest.approx(1000, abs=120)
    assert counts[8] == pytest.approx(8000, abs=240)
    assert counts[16] == pytest.approx(4000, abs=220)
