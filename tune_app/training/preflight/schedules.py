"""The learning-rate curves of a space, computed in the same way as in a trial."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers.optimization import get_scheduler

from tune_app.space.constraints import Constraints
from tune_app.space.domains import Domain, nested
from tune_app.training.effective import warm_up_steps
from tune_app.training.preflight.values import ends
from tune_app.training.trainable import Trainable

POINTS = 400
"""Curves are compared at this many evenly spaced steps, and around the ends of warm-ups."""

Case = tuple[Any, str, int]
"""Warm-up (steps, or a fraction below 1), options as JSON, steps of the trial."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why transformers cannot build a schedule."""

    reason: str


Curve = tuple[float, ...] | Refused | None
"""Learning rates as fractions of the peak; None if they are not a function of the step."""


@dataclass(frozen=True, slots=True)
class Schedules:
    """The curve of each schedule in each case that a space has."""

    names: list[str]
    warm_ups: list[float]
    curves: dict[str, dict[Case, Curve]]

    @classmethod
    def of(
        cls,
        loaded: Trainable,
        space: Mapping[str, Domain],
        steps: Iterable[int],
        constraints: Constraints,
    ) -> Schedules:
        """The schedules of a space; parameters outside the space have the trainable's default."""

        def values(name: str) -> list[Any]:
            return list(ends(space[name])) if name in space else [loaded.default(name)]

        names = list(dict.fromkeys(str(getattr(v, "value", v)) for v in values(TYPE)))
        warm_ups = list(dict.fromkeys(values("warmup_steps")))
        peak, lengths, default = max(values("learning_rate")), sorted(set(steps)), loaded.default
        curves = {}
        for name in names:
            active = (constraints.active({TYPE: name, **chosen}) for chosen in _options(space))
            options = dict.fromkeys(_as_json(params, default(OPTIONS)) for params in active)
            cases = product(warm_ups, options, lengths)
            curves[name] = {case: curve(name, case, peak, warm_ups) for case in cases}
        return cls(names, warm_ups, curves)

    def same_at(self, warm_ups: Sequence[float]) -> list[tuple[str, ...]]:
        """Groups of two or more schedules with equal curves in all cases with these warm-ups."""
        groups: dict[str, list[str]] = {}
        for name, curves in self.curves.items():
            kept = {case: item for case, item in curves.items() if case[0] in warm_ups}
            if all(isinstance(item, tuple) for item in kept.values()):
                groups.setdefault(repr(sorted(kept.items())), []).append(name)
        return [tuple(group) for group in groups.values() if len(group) > 1]

    def refusals(self) -> dict[str, str]:
        """Schedules that cannot be built in at least one case, with the reason."""
        return {
            name: item.reason
            for name, curves in self.curves.items()
            for item in curves.values()
            if isinstance(item, Refused)
        }

    def refusing(self, options: Mapping[str, Any]) -> list[str]:
        """Schedules that refuse these options."""
        case = (0, json.dumps(options), 10)
        curves = {name: curve(name, case, 1e-3) for name in self.names}
        return [name for name, item in curves.items() if isinstance(item, Refused)]

    def without_warm_up(self) -> list[str]:
        """Schedules whose curve is the same for all warm-ups."""
        return self._indifferent(0)

    def without_options(self) -> list[str]:
        """Schedules whose curve is the same for all `lr_scheduler_kwargs`."""
        return self._indifferent(1)

    def _indifferent(self, axis: int) -> list[str]:
        names = []
        for name, curves in self.curves.items():
            groups = self._alike(name, axis)
            if groups and len(groups[0]) == len({case[axis] for case in curves}):
                names.append(name)
        return names

    def same_options(self) -> dict[tuple[str, ...], list[str]]:
        """Groups of `lr_scheduler_kwargs` with equal curves, each with the schedules concerned.

        Leaves out the schedules of `without_options`.
        """
        schedules: dict[tuple[str, ...], list[str]] = {}
        indifferent = self.without_options()
        for name in self.names:
            for group in self._alike(name, 1) if name not in indifferent else ():
                schedules.setdefault(group, []).append(name)
        return schedules

    def _alike(self, name: str, axis: int) -> list[tuple[Any, ...]]:
        """Groups of two or more values on an axis of the cases that give the same curves."""
        seen: dict[Any, dict[Any, Curve]] = {}
        for case, item in self.curves[name].items():
            seen.setdefault(case[axis], {})[case[:axis] + case[axis + 1 :]] = item
        groups: dict[str, list[Any]] = {}
        for value, curves in seen.items():
            if all(isinstance(item, tuple) for item in curves.values()):
                groups.setdefault(repr(sorted(curves.items())), []).append(value)
        return [tuple(group) for group in groups.values() if len(group) > 1]


TYPE = "lr_scheduler_type"
OPTIONS = "lr_scheduler_kwargs"


def _options(space: Mapping[str, Domain]) -> list[dict[str, Any]]:
    """All combinations of `lr_scheduler_kwargs` in a space, which may use dotted names."""
    named = {n: list(ends(space[n])) for n in space if n.partition(".")[0] == OPTIONS}
    return [dict(zip(named, values, strict=True)) for values in product(*named.values())]


def curve(name: str, case: Case, peak: float, warm_ups: Iterable[float] = ()) -> Curve:
    """A schedule's curve, at the same steps for every warm-up of `warm_ups`; `steps` >= 1."""
    warm_up, options, steps = case
    weight = torch.nn.Parameter(torch.zeros(1))
    try:
        schedule = get_scheduler(
            name,
            torch.optim.SGD([weight], lr=float(peak)),
            num_warmup_steps=warm_up_steps(warm_up, steps),
            num_training_steps=steps,
            scheduler_specific_kwargs=_as_mapping(options),
        )
        if not isinstance(schedule, LambdaLR):
            return None
        shape = schedule.lr_lambdas[0]
        return tuple(float(f"{shape(step):.9g}") for step in _points(steps, warm_ups))
    except (ArithmeticError, TypeError, ValueError) as error:
        return Refused(str(error))


def _points(steps: int, warm_ups: Iterable[float]) -> list[int]:
    spread = {round(steps * index / POINTS) for index in range(POINTS + 1)}
    ends_of = [warm_up_steps(warm_up, steps) for warm_up in warm_ups]
    near = {end + offset for end in ends_of for offset in (-1, 0, 1)}
    return sorted(spread | {step for step in near | {1, 2} if 0 <= step <= steps})


def _as_json(params: Mapping[str, Any], default: Any) -> str:
    return json.dumps(nested(params).get(OPTIONS, default), sort_keys=True)


def _as_mapping(options: str) -> dict[str, Any]:
    """The options as transformers reads them: a mapping, or JSON of one; None means no options."""
    value = json.loads(options)
    return (json.loads(value) if isinstance(value, str) else value) or {}
