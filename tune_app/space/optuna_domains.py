"""Converts domains to Optuna's distributions, and values in both directions.

Takes domains in the form of the journal (see `tune_app.space.domains.to_document`). Two features
that Optuna lacks are emulated. Its logarithmic ranges have no step: values are rounded to the step
on the way back. Its choices must be scalars that differ under `==`: where they are not (lists, or
True and 1), Optuna gets their JSON texts as labels.

Not translated: the `weights` of a choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tune_app.space.domains import Drawn, contains, from_document, identity, snap

Domain = Mapping[str, Any]


def distribution(domain: Domain) -> BaseDistribution:
    """The distribution for a searched domain.

    Raises:
        ValueError: the domain is fixed or of an unknown type; Optuna refuses its bounds.
    """
    match domain["type"]:
        case "float":
            return _float(domain)
        case "int":
            low, step = domain["low"], 1 if domain["log"] else _step(domain) or 1
            high = low + (domain["high"] - low) // step * step
            return IntDistribution(low, high, domain["log"], step)
        case "drawn":
            shape = _shape(domain)
            return FloatDistribution(float(shape.low), float(shape.high), log=shape.log)
        case "choice":
            return CategoricalDistribution(_labels(domain["values"]))
        case other:
            raise ValueError(f"a domain of type {other!r} has no distribution")


def to_optuna(domain: Domain, value: Any) -> Any:
    """`value` as an Optuna trial holds it; a number in a stepped range is rounded to a step.

    Raises:
        ValueError: the domain does not contain this value.
    """
    if domain["type"] == "choice":
        return _labels(domain["values"])[_index(domain["values"], value)]
    if domain["type"] == "drawn":
        return _drawn_value(_shape(domain), value)
    expected = int if domain["type"] == "int" else (int, float)
    if isinstance(value, bool) or not isinstance(value, expected):
        raise ValueError(f"{value!r} is not of type {domain['type']}")
    if not domain["low"] <= value <= domain["high"]:
        raise ValueError(f"{value!r} is outside of {domain['low']} to {domain['high']}")
    snapped = from_optuna(domain, value)
    # Optuna's upper end of a stepped range may be lower by a rounding error.
    bounds = distribution(domain)
    return min(snapped, bounds.high) if isinstance(bounds, FloatDistribution) else snapped


def from_optuna(domain: Domain, value: Any) -> Any:
    """The domain's own value, in its own type, for one that Optuna holds or suggests.

    Raises:
        ValueError: Optuna's value is not among the choices.
    """
    if domain["type"] == "choice":
        return domain["values"][_index(_labels(domain["values"]), value)]
    if domain["type"] == "drawn":
        return _shape(domain).rounded(value)
    step = _step(domain)
    if step is not None:
        value = snap(value, domain["low"], domain["high"], step)
    return int(value) if domain["type"] == "int" else float(value)


def _drawn_value(shape: Drawn, value: Any) -> float:
    if not contains(shape, value) or not shape.low <= value <= shape.high:
        raise ValueError(f"{value!r} is outside of {shape.low:g} to {shape.high:g}")
    return float(value)


def _shape(domain: Domain) -> Drawn:
    shape = from_document(domain)
    assert isinstance(shape, Drawn)
    return shape


def _float(domain: Domain) -> FloatDistribution:
    low, high, step = float(domain["low"]), float(domain["high"]), _step(domain)
    if domain["log"]:
        return FloatDistribution(low, high, log=True)
    if step is None:
        return FloatDistribution(low, high)
    return FloatDistribution(low, snap(high, low, high, step), step=step)


def _step(domain: Domain) -> Any:
    return domain.get("step")


def _labels(values: Sequence[Any]) -> list[Any]:
    plain = all(value is None or isinstance(value, (bool, int, float, str)) for value in values)
    if plain and len(set(values)) == len(values):
        return list(values)
    return [identity(value) for value in values]


def _index(values: Sequence[Any], value: Any) -> int:
    key = identity(value)
    for index, candidate in enumerate(values):
        if identity(candidate) == key:
            return index
    raise ValueError(f"{value!r} is not among {list(values)!r}")
