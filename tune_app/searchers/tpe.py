"""TPE by Optuna: multivariate, seeded, with the constant liar for trials still running.

Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011; the multivariate form
from Falkner et al., "BOHB", ICML 2018. The model is fitted on the highest rung with enough values,
so that it compares trials at one budget only; trials that fell behind at a lower rung rank below
them, and diverged ones below all. Lost, cancelled, failed and out-of-memory trials say nothing.

A prior shapes the random trials at the start; the model knows nothing of it.
"""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tune_app.errors import Problem, UserError
from tune_app.searchers._memory import fresh, stream, tried
from tune_app.searchers.random import Random
from tune_app.space import drawn, optuna_domains, prior, rules
from tune_app.space.domains import Drawn, Space, contains, searched, to_document
from tune_app.space.rules import Rules
from tune_app.state import StudyState
from tune_app.trial import Outcome, Status, TrialState

ATTEMPTS = 10
"""Suggestions that are dropped because they were tried already, before one is drawn at random."""
ATTEMPTS_WITH_RULES = 30
"""The same where constraints forbid some suggestions."""
CANDIDATES = 24
"""Draws from the model of which the most promising is suggested; Optuna's default."""

_SILENT = {Outcome.OUT_OF_MEMORY, Outcome.FAILED, Outcome.LOST, Outcome.CANCELLED}


class Tpe:
    """Asks a fresh Optuna sampler each time, told of all that the study's state holds."""

    def __init__(self, space: Space, seed: int, startup: int) -> None:
        self._space = space
        self._domains = {name: to_document(domain) for name, domain in searched(space).items()}
        # Optuna draws evenly from a range. A shape is searched by its likelihood, so that even
        # draws are draws from the shape.
        self._shapes = {n: d for n, d in searched(space).items() if isinstance(d, Drawn)}
        self._distributions = {
            name: FloatDistribution(0.0, 1.0)
            if name in self._shapes
            else optuna_domains.distribution(domain)
            for name, domain in self._domains.items()
        }
        self._seed = seed
        self._startup = startup

    def suggest(self, state: StudyState, number: int) -> dict[str, Any] | None:
        seen, laws = tried(state, self._space), rules.of_document(state.document)
        history = self._history(state, laws)
        attempts = ATTEMPTS_WITH_RULES if laws else ATTEMPTS
        if prior.of_document(state.document) and self._is_starting(history):
            attempts = 0
        for attempt in range(attempts):
            # Where the best values lie at the edge of what is allowed, the favourite of many
            # candidates is often beyond it; one alone is spread as the good trials are.
            candidates = max(1, CANDIDATES >> attempt) if laws.constraints else CANDIDATES
            seed = stream(self._seed, "tpe", number, attempt)
            asked = self._ask(history, state, self._sampler(laws, candidates, seed))
            params = fresh(asked, self._space, seen, laws)
            if params is not None:
                return params
        return Random(self._space, self._seed).suggest(state, number)

    def _is_starting(self, history: list[FrozenTrial]) -> bool:
        """Whether Optuna would draw at random, without regard to the prior."""
        told = sum(trial.state is not OptunaState.RUNNING for trial in history)
        return told < self._startup

    def _ask(
        self, history: list[FrozenTrial], state: StudyState, sampler: BaseSampler
    ) -> dict[str, Any]:
        minimising = state.sign > 0
        direction = StudyDirection.MINIMIZE if minimising else StudyDirection.MAXIMIZE
        study = optuna.create_study(sampler=sampler, direction=direction)
        study.add_trials(history)
        asked = study.ask(self._distributions)
        return {name: self._value(name, asked.params[name]) for name in self._domains}

    def _value(self, name: str, held: Any) -> Any:
        if name in self._shapes:
            return drawn.from_unit(self._shapes[name], held)
        return optuna_domains.from_optuna(self._domains[name], held)

    def _held(self, name: str, value: Any) -> Any:
        if name in self._shapes:
            return drawn.to_unit(self._shapes[name], value)
        return optuna_domains.to_optuna(self._domains[name], value)

    def _sampler(self, laws: Rules, candidates: int, seed: int) -> BaseSampler:
        # In groups: parameters that count together are modelled together, from the trials that have
        # them. All get a value then, and `fresh` takes away what does not count beside the others.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                multivariate=True,
                group=bool(laws.when),
                constant_liar=True,
                n_startup_trials=self._startup,
                n_ei_candidates=candidates,
                seed=seed,
            )

    def _history(self, state: StudyState, laws: Rules) -> list[FrozenTrial]:
        usable = [trial for trial in state.trials.values() if self._is_usable(trial, laws)]
        rung = self._model_rung(usable, state)
        return [self._frozen(trial, rung, state) for trial in usable]

    def _is_usable(self, trial: TrialState, laws: Rules) -> bool:
        """Told about are trials inside the space that say something about their values.

        Inside is one with a value for all that counts beside its others, and for nothing else.
        """
        values = laws.active({**laws.constants, **trial.params})
        inside = all(
            name in trial.params and contains(domain, trial.params[name])
            if laws.is_active(name, values)
            else name not in trial.params
            for name, domain in searched(self._space).items()
        )
        return inside and trial.outcome not in _SILENT

    def _model_rung(self, usable: list[TrialState], state: StudyState) -> int:
        for rung in range(state.full_rung, 0, -1):
            values = sum(rung in trial.rung_values for trial in usable)
            if values >= max(self._startup, len(self._domains) + 1):
                return rung
        return 0

    def _frozen(self, trial: TrialState, rung: int, state: StudyState) -> FrozenTrial:
        params = {
            name: self._held(name, trial.params[name])
            for name in self._domains
            if name in trial.params
        }
        value, below = trial.rung_values.get(rung), {}
        if trial.outcome is Outcome.DIVERGED:
            told = OptunaState.PRUNED
        elif value is not None:
            told = OptunaState.COMPLETE
        elif trial.status is Status.RUNNING or not trial.rung_values:
            told = OptunaState.RUNNING
        else:
            told, below = OptunaState.PRUNED, dict(trial.rung_values)
        return optuna.trial.create_trial(
            state=told,
            value=value if told is OptunaState.COMPLETE else None,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            intermediate_values=below,
        )


def create(space: Space, seed: int, *, startup: int = 10) -> Tpe:
    """The searcher.

    Args:
        space: what may vary.
        seed: of the study.
        startup: random trials before the model is used.
    """
    if type(startup) is not int or startup < 1:
        what = f"{startup!r} startup trials"
        raise UserError(Problem(what, "tune.searcher.startup", "a whole number above 0"))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return Tpe(space, seed, startup)
