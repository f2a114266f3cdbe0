"""Shows the study, live, as an Optuna study: `optuna-dashboard FOLDER/optuna.journal`.

It is only a view of the study's state: each event updates one trial, the start or resume of a study
all of them, and repeated events change nothing. A completed trial becomes COMPLETE, a stopped one
PRUNED, every other one FAIL with the outcome in the user attribute `outcome`. Values of a worker
that was lost later stay as intermediate values until the trial reports them again.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import OptunaError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tune_app.core.journal import Event
from tune_app.core.state import StudyState
from tune_app.core.trial import Outcome, TrialState
from tune_app.space.domains import searched, to_document
from tune_app.space.optuna_domains import distribution, from_optuna, to_optuna

FILE_NAME = "optuna.journal"

LOCK_GRACE_S = 3
"""A lock older than this was left by a killed process: writing takes milliseconds."""

# Optuna raises ValueError for broken JSON and RuntimeError for a lock that was removed.
_FAILURES = (OSError, OptunaError, ValueError, RuntimeError)
_log = logging.getLogger(__name__)


class OptunaTracker:
    """Writes one Optuna journal file; stops with one warning if that fails."""

    def __init__(self, folder: Path) -> None:
        self._path = folder.resolve() / FILE_NAME
        self._mirror: _Mirror | None = None
        self._works = True

    def on_event(self, event: Event, state: StudyState) -> None:
        if not self._works:
            return
        try:
            if self._mirror is None:
                self._mirror = _Mirror(_storage(self._path), state)
                trials = list(state.trials.values())
            else:
                trials = [state.trials[event["trial"]]] if "trial" in event else []
            for trial in trials:
                self._mirror.update(trial, state)
        except _FAILURES as error:
            self._works = False
            _log.warning("the Optuna view %s is not kept up: %s", self._path, error)

    def close(self, timeout_s: float) -> None:
        """Does nothing: every event is on disk when `on_event` returns."""


class _Mirror:
    """Updates the trials of one Optuna study from the state; writes only differences."""

    def __init__(self, storage: JournalStorage, state: StudyState) -> None:
        self._storage = storage
        self._study = _study_id(storage, state)
        frozen_trials = storage.get_all_trials(self._study, deepcopy=False)
        self._ids: dict[str, int] = {
            frozen.user_attrs["trial"]: frozen._trial_id
            for frozen in frozen_trials
            if "trial" in frozen.user_attrs
        }

    def update(self, trial: TrialState, state: StudyState) -> None:
        """Writes what the Optuna study does not have of `trial` yet."""
        if trial.id not in self._ids:
            # Read now, not at the first event: preflight may have dropped choices since.
            new = _running(trial, _searched(state))
            self._ids[trial.id] = self._storage.create_new_trial(self._study, new)
        trial_id = self._ids[trial.id]
        frozen = self._storage.get_trial(trial_id)
        if frozen.state.is_finished():
            return
        values, skipped = _intermediate(trial, state.reported_metric)
        for tokens, value in values.items():
            if frozen.intermediate_values.get(tokens) != value:
                self._storage.set_trial_intermediate_value(trial_id, tokens, value)
        for name, attribute in _attributes(trial, skipped).items():
            if frozen.user_attrs.get(name) != attribute:
                self._storage.set_trial_user_attr(trial_id, name, attribute)
        if trial.outcome is not None:
            end, final = _end(trial, state)
            self._storage.set_trial_state_values(trial_id, end, None if final is None else [final])


def _storage(path: Path) -> JournalStorage:
    if path.exists():
        _cut_torn_line(path)
    # The dashboard uses the same lock file; this kind of lock also works on network file systems.
    lock = JournalFileOpenLock(str(path), LOCK_GRACE_S)
    return JournalStorage(JournalFileBackend(str(path), lock))


def _cut_torn_line(path: Path) -> None:
    """Removes a torn last line, to which the next line would otherwise be appended."""
    raw = path.read_bytes()
    os.truncate(path, raw.rfind(b"\n") + 1)


def _study_id(storage: JournalStorage, state: StudyState) -> int:
    for study in storage.get_all_studies():
        if study.study_name == state.name:
            return int(study._study_id)
    direction = StudyDirection.MINIMIZE if state.sign > 0 else StudyDirection.MAXIMIZE
    return int(storage.create_new_study([direction], state.name))


def _searched(state: StudyState) -> dict[str, Any]:
    """The current domains of searched parameters; preflight may have dropped choices."""
    space = searched(state.definition.space)
    return {name: to_document(domain) for name, domain in space.items()}


def _running(trial: TrialState, domains: Mapping[str, Any]) -> FrozenTrial:
    """A new running trial of Optuna; values outside the space are stored in an attribute."""
    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    outside: dict[str, Any] = {}
    for name, value in trial.params.items():
        if _fits(domains.get(name), value):
            params[name] = to_optuna(domains[name], value)
            distributions[name] = distribution(domains[name])
        else:
            outside[name] = value
    attributes = {"trial": trial.id, "kind": trial.kind.value}
    return FrozenTrial(
        number=trial.number,
        trial_id=-1,
        state=OptunaState.RUNNING,
        value=None,
        datetime_start=datetime.fromtimestamp(trial.created).astimezone(),
        datetime_complete=None,
        params=params,
        distributions=distributions,
        user_attrs={**attributes, "params": outside} if outside else attributes,
        system_attrs={},
        intermediate_values={},
    )


def _fits(domain: Mapping[str, Any] | None, value: Any) -> bool:
    """Whether the parameter is searched and Optuna can store the value without rounding it."""
    if domain is None or domain["type"] == "fixed":
        return False
    try:
        stored = from_optuna(domain, to_optuna(domain, value))
    except ValueError:
        return False
    return math.isclose(stored, value) if isinstance(value, float) else bool(stored == value)


def _intermediate(trial: TrialState, metric: str) -> tuple[dict[int, float], list[int]]:
    """The objective by training tokens, and the tokens at which it was not finite."""
    reported = {
        report.tokens: report.metrics[metric]
        for report in trial.reports
        if metric in report.metrics
    }
    finite = {tokens: value for tokens, value in reported.items() if math.isfinite(value)}
    return finite, sorted(reported.keys() - finite.keys())


def _attributes(trial: TrialState, skipped: list[int]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    if trial.effective:
        attributes["effective"] = trial.effective
    if trial.takeovers:
        # Optuna's parameters are the initial ones.
        attributes["last_params"] = dict(trial.params)
    if skipped:
        attributes["not_finite_at_tokens"] = skipped
    if trial.outcome is not None:
        attributes["outcome"] = trial.outcome.value
        attributes["tokens"] = trial.tokens
        if trial.reason:
            attributes["reason"] = trial.reason
    return attributes


def _end(trial: TrialState, state: StudyState) -> tuple[OptunaState, float | None]:
    """Optuna's state and value of an ended trial; a pruned one keeps its last value."""
    match trial.outcome:
        case Outcome.COMPLETED:
            final = state.final_value(trial)
            is_number = final is not None and not math.isnan(final)
            return (OptunaState.COMPLETE, final) if is_number else (OptunaState.FAIL, None)
        case Outcome.STOPPED:
            last = trial.latest(state.reported_metric)
            return OptunaState.PRUNED, last if last is not None and math.isfinite(last) else None
        case _:
            return OptunaState.FAIL, None


def create(folder: Path) -> OptunaTracker:
    """The tracker of the study in `folder`."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return OptunaTracker(folder)
