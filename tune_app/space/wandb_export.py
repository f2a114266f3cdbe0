"""Writes a space as the parameters of a W&B sweep; reading them gives the same space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from tune_app.space.domains import Choice, Domain, Drawn, Fixed, Float, Int, grid


def parameters(space: Mapping[str, Domain]) -> dict[str, Any]:
    """The `parameters` of a sweep file, groups nested as W&B nests them."""
    written: dict[str, Any] = {}
    for name, domain in space.items():
        *groups, last = name.split(".")
        inner = written
        for group in groups:
            inner = inner.setdefault(group, {"parameters": {}})["parameters"]
        inner[last] = parameter(domain)
    return written


def parameter(domain: Domain) -> dict[str, Any]:
    """One parameter in the format of W&B."""
    match domain:
        case Fixed(value):
            return {"value": value}
        case Choice(values, weights):
            probabilities = {} if weights is None else {"probabilities": list(weights)}
            return {"values": list(values), **probabilities}
        case Float() | Int():
            return _range(domain)
        case Drawn():
            return _drawn(domain)
        case _:
            assert_never(domain)


def _range(domain: Float | Int) -> dict[str, Any]:
    ends = {"min": domain.low, "max": domain.high}
    if isinstance(domain, Float) and domain.step is None:
        return {"distribution": "log_uniform_values" if domain.log else "uniform", **ends}
    if isinstance(domain, Int) and not domain.log and domain.step in (None, 1):
        return {"distribution": "int_uniform", **ends}
    # W&B has steps only at multiples of `q`, and no exact ones on a logarithmic range.
    values = grid(domain)
    if values is not None and not domain.log:
        return {"values": values}
    step = domain.step or 1
    return {
        "distribution": "q_log_uniform_values" if domain.log else "q_uniform",
        **ends,
        "q": step,
    }


def _drawn(domain: Drawn) -> dict[str, Any]:
    keys = {"normal": ("mu", "sigma"), "log_normal": ("mu", "sigma"), "beta": ("a", "b")}
    name = "log_uniform_values" if domain.shape == "log_uniform" else domain.shape
    first, second = keys.get(domain.shape, ("min", "max"))
    q = {} if domain.q is None else {"q": domain.q}
    prefix = "q_" if q else ""
    return {"distribution": f"{prefix}{name}", first: domain.a, second: domain.b, **q}


def is_exact(domain: Domain) -> bool:
    """Whether W&B can express the domain exactly; a stepped logarithmic range only nearly."""
    if not isinstance(domain, (Float, Int)):
        return True
    if domain.log:
        return isinstance(domain, Float) and domain.step is None
    return domain.step in (None, 1) or grid(domain) is not None
