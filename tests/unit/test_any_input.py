"""Whatever a file holds, the loader answers with a study or with its own error, never another."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tune_app.cli.export import as_sweep
from tune_app.errors import Problem, UserError
from tune_app.space.domains import contains, sample
from tune_app.space.wandb_parameters import DISTRIBUTIONS, PARAMETER_KEYS
from tune_app.space.wandb_sweep import KEYS, METHODS
from tune_app.study import file as study_file
from tune_app.study import yaml_source
from tune_app.study.parsed import ParsedStudy

# Of values that make sense now and then, so that more than the first check is reached.
numbers = st.one_of(
    st.integers(-5, 20),
    st.floats(),
    st.integers(),
    st.sampled_from([1e-5, 0.1, 0.5, 1.0, 2**53, 1e308, 1e-320]),
)
scalars = st.one_of(
    numbers,
    st.booleans(),
    st.none(),
    st.text(max_size=5),
    st.sampled_from(["1e-5", "linear", "a.b"]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
entries = st.one_of(
    anything,
    st.fixed_dictionaries(
        {},
        optional={
            "distribution": st.sampled_from(DISTRIBUTIONS),
            "min": numbers,
            "max": numbers,
            "mu": numbers,
            "sigma": numbers,
            "a": numbers,
            "b": numbers,
            "q": numbers,
        },
    ),
    st.dictionaries(st.sampled_from(PARAMETER_KEYS), anything, max_size=4),
    st.fixed_dictionaries({"values": st.lists(scalars, max_size=4)}),
)
positive = st.floats(1e-6, 1e6)


def ranged(low: float, width: float, distribution: str, step: float | int) -> dict[str, Any]:
    q = {"q": step} if distribution.startswith("q_") else {}
    return {"distribution": distribution, "min": low, "max": low + width, **q}


sound = st.one_of(
    st.builds(lambda value: {"value": value}, st.one_of(st.integers(-9, 9), st.booleans())),
    st.builds(lambda values: {"values": values}, st.lists(scalars, min_size=1, max_size=4)),
    st.builds(
        ranged,
        positive,
        positive,
        st.sampled_from(["uniform", "q_uniform", "log_uniform_values", "q_log_uniform_values"]),
        st.one_of(positive, st.integers(1, 100)),
    ),
    st.builds(lambda low, width: {"min": low, "max": low + width}, st.integers(), st.integers(1)),
    st.builds(
        lambda kind, mu, sigma: {"distribution": kind, "mu": mu, "sigma": sigma},
        st.sampled_from(["normal", "q_normal", "log_normal", "q_log_normal"]),
        st.floats(-5, 5),
        st.floats(0, 3),
    ),
    st.builds(lambda a, b: {"distribution": "beta", "a": a, "b": b}, positive, positive),
)
names = st.one_of(st.sampled_from(["lr", "a.b", "a", "b"]), st.text(max_size=4))
nested = st.recursive(
    st.dictionaries(names, entries, max_size=3),
    lambda inner: st.dictionaries(names, st.fixed_dictionaries({"parameters": inner}), max_size=2),
    max_leaves=3,
)
heads = st.one_of(
    st.fixed_dictionaries({}, optional={"method": st.sampled_from(METHODS)}),
    st.dictionaries(st.sampled_from([*KEYS, "tune", "job"]), anything, max_size=3),
)
clear = st.dictionaries(st.sampled_from(["lr", "a.b", "a.c", "d"]), sound, min_size=1)
documents = st.one_of(
    st.builds(
        lambda head, space: {**head, "parameters": space}, heads, st.one_of(nested, anything)
    ),
    st.builds(lambda head, space: {**head, "parameters": space}, st.just({}), clear),
)
checked = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def mistakes(path: Path) -> tuple[ParsedStudy | None, tuple[Problem, ...]]:
    try:
        return study_file.load(path), ()
    except UserError as error:
        return None, tuple(error.problems)


def read(path: Path, data: bytes) -> ParsedStudy | None:
    path.write_bytes(data)
    found, problems = mistakes(path)
    assert (found is None) == bool(problems)
    assert all(problem.what for problem in problems)
    return found


@checked
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_is_a_study_or_a_mistake(tmp_path: Path, text: str) -> None:
    read(tmp_path / "sweep.yaml", text.encode())


@checked
@given(data=st.binary(max_size=100))
def test_any_bytes_are_a_study_or_a_mistake(tmp_path: Path, data: bytes) -> None:
    read(tmp_path / "sweep.yaml", data)


@checked
@given(document=documents)
def test_any_document_is_a_study_that_can_be_drawn_and_written_or_a_mistake(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    text = yaml.safe_dump(document, allow_unicode=True)
    found = read(tmp_path / "sweep.yaml", text.encode("utf-8", "surrogatepass"))
    event("a study" if found else "a mistake")
    if found is None:
        return
    rng = random.Random(0)
    for domain in found.space.values():
        assert contains(domain, sample(domain, rng))
    again = read(tmp_path / "again.yaml", yaml_source.dump(as_sweep(found)).encode())
    assert again is not None
    assert again.sweep == found.sweep
