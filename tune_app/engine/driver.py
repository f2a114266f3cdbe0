"""Runs one study: preflight on a worker, then the search, until it ends or is interrupted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tune_app.cache import cache_folder
from tune_app.core.blame import PlugInFailed, blamed
from tune_app.core.conductor import Conductor
from tune_app.core.definition import PREPARED, StudyDefinition
from tune_app.core.failures import Losses
from tune_app.core.recorder import Recorder
from tune_app.engine import tuner
from tune_app.engine.cluster import Cluster
from tune_app.engine.demand import Demand, runnable_trials, wait_for_a_machine
from tune_app.engine.remote import merged, probed_elsewhere, received, with_node_kind
from tune_app.engine.resources import TrialResources
from tune_app.engine.watch import head, lifeline
from tune_app.engine.worker import Host, preflight
from tune_app.errors import Problem, UserError
from tune_app.plugins import make
from tune_app.space import feasible
from tune_app.space.domains import Choice, Space, searched, without
from tune_app.storage.disk_faults import is_full
from tune_app.storage.study import StoredStudy
from tune_app.training.preflight.messages import (
    Findings,
    Impossible,
    Probed,
    ProbeResults,
    Progress,
)

GONE = "Ray is gone: one of its processes was killed, or the machine it ran on"
RESUME = "resume the study; nothing that was reported is lost"


class Driver:
    """One session of a study's driver, from preflight to the end or an interruption."""

    def __init__(
        self,
        study: StoredStudy,
        recorder: Recorder,
        cluster: Cluster,
    ) -> None:
        self._study = study
        self._folder = study.folder
        self._state = recorder.state
        self._recorder = recorder
        self._cluster = cluster
        study.stop(False)
        self._conductor: Conductor | None = None
        self.probed: tuple[Probed, ...] = ()
        """The results of probing the space's values."""

    def interrupt(self) -> bool:
        """Asks running trials to save a checkpoint and starts no more; False before the search."""
        if self._conductor is None:
            return False
        self._study.stop(True)
        self._conductor.interrupted = True
        return True

    def prepare(self, progress: Callable[[str], None]) -> TrialResources:
        """Runs preflight; returns the resources of a trial.

        Raises:
            UserError: preflight found mistakes or raised, or no trial fits on the cluster.
        """
        resources = self._state.definition.resources
        trial = TrialResources(resources.cpu, resources.gpu or 0.0, resources.processes)
        if self._cluster.grows and self._cluster.slots(trial) == 0:
            # Whether trials get a GPU by default depends on the first machine.
            wait_for_a_machine(self._cluster, trial, progress)
        if resources.gpu is None:
            trial = replace(trial, gpu=float(self._cluster.has_gpu()))
        self._prepare(progress, trial, self._nodes(progress, trial))
        return trial

    def run(self, progress: Callable[[str], None], last_words: Callable[[str], None]) -> None:
        """Runs until the study ends or is interrupted; the state says which.

        If Ray is gone it says so with `last_words` and ends the process.

        Raises:
            UserError: preflight found mistakes or raised, no trial fits on the cluster, a plug-in
                raised, workers keep dying, or the disk is full.
        """
        trial = self.prepare(progress)
        conductor = self._conductor = self._make_conductor()
        limit = self._state.definition.resources.concurrent or 10**6
        scratch = self._folder / "logs" / "ray_tune"
        demand = Demand(self._cluster, trial)

        def slots() -> int:
            available = self._slots(trial)
            demand.ask(min(limit, runnable_trials(self._state)) - available)
            return int(min(limit, available))

        with (
            self._resumable(),
            self._full_disk_explained(),
            lifeline(head(), lambda: _leave(last_words)),
        ):
            tuner.run(
                conductor,
                slots=slots,
                host=self._host(trial),
                trial=trial,
                scratch=scratch,
            )
        shutil.rmtree(scratch, ignore_errors=True)
        self._study.stop(False)
        if conductor.interrupted:
            conductor.record("study_interrupted")

    def _slots(self, trial: TrialResources) -> int:
        """How many trials fit now; a cluster may have no node for a while.

        Raises:
            UserError: local Ray, a single node, is gone.
        """
        slots = self._cluster.slots(trial)
        if slots == 0 and self._cluster.local:
            raise UserError(Problem(GONE, "local Ray", fix=RESUME))
        return slots

    def record(self, event: str, **fields: Any) -> None:
        """Writes an event before there is a conductor.

        Raises:
            UserError: as `Recorder.record`.
        """
        self._recorder.record(event, **fields)

    @contextmanager
    def _full_disk_explained(self) -> Iterator[None]:
        """Turns a full disk into a UserError: the study stops and can be resumed."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if not is_full(error):
                raise
            fix = "free some space, then resume the study; nothing that was saved is lost"
            reason = getattr(error, "strerror", None) or str(error)
            what = f"no room left on the disk ({reason})"
            raise UserError(Problem(what, str(self._folder), fix=fix)) from error

    @contextmanager
    def _resumable(self) -> Iterator[None]:
        """Adds to an error of a plug-in that the study can be resumed."""
        try:
            yield
        except PlugInFailed as error:
            if not self._state.trials:
                raise
            fix = "mend it, then resume the study"
            raise UserError(
                [replace(problem, fix=f"{fix}; {problem.fix}") for problem in error.problems]
            ) from error

    def _make_conductor(self) -> Conductor:
        study = self._state.definition
        with blamed("searcher"):
            searcher = make.searcher(study)
        with blamed("scheduler"):
            scheduler = make.scheduler(study)
        return Conductor(
            self._recorder,
            searcher,
            scheduler,
            study.baseline_params if study.baseline else None,
            losses=Losses(),
        )

    def _nodes(self, progress: Callable[[str], None], trial: TrialResources) -> dict[str, str]:
        """The id of one node for each kind that trials fit on; at least one.

        Raises:
            UserError: no trial fits, and the cluster starts no machine.
        """
        nodes = self._cluster.kinds(trial)
        while not nodes and self._cluster.grows:
            # The machine that was there has left again.
            wait_for_a_machine(self._cluster, trial, progress)
            nodes = self._cluster.kinds(trial)
        if nodes:
            return nodes
        what = f"a trial with {trial} fits on no node"
        fix = f"the cluster has {self._cluster.describe()}: ask for less"
        raise UserError(Problem(what, "tune.resources", fix=fix))

    def _prepare(
        self, progress: Callable[[str], None], trial: TrialResources, nodes: dict[str, str]
    ) -> None:
        """Runs preflight on a worker; a new study's findings go to the journal."""
        study, cache = self._state.definition, str(cache_folder())
        is_new, space = study.baseline_params is None, study.space
        (kind, node), *other_nodes = nodes.items()
        elsewhere = probed_elsewhere(study, cache, trial, dict(other_nodes)) if is_new else []
        for message in received(preflight, study, (cache, is_new), trial, node):
            match message:
                case Progress(line):
                    progress(line)
                case ProbeResults(impossible, probed):
                    self.probed = probed
                    own = with_node_kind(kind, impossible) if other_nodes else impossible
                    space = self._without_impossible(space, merged(own, elsewhere))
                case Findings() if is_new:
                    self._keep(message, space)

    def _without_impossible(self, space: Space, impossible: Iterable[Impossible]) -> Space:
        """The space without the choices that cannot run here, if the study allows dropping them.

        Raises:
            UserError: the study does not allow it, or no value of a parameter can run.
        """
        may_drop = self._state.definition.drop_impossible
        problems = []
        for item in impossible:
            name, domain, text = item.parameter, space[item.parameter], json.dumps(item.value)
            what, fix = f"the choice {text} cannot run here: {item.reason}", ""
            if not isinstance(domain, Choice):
                what, fix = f"{text} cannot run here: {item.reason}", "choose another value"
            elif not may_drop:
                fix = "leave it out of the file, or add --drop-impossible to go on without it"
            else:
                self.record("choice_dropped", parameter=name, value=item.value, reason=item.reason)
                space = {**space, name: without(domain, item.value)}
                continue
            problems.append(Problem(what, f"parameters.{name}", fix=fix))
        if problems:
            raise UserError(problems)
        return space

    def _keep(self, findings: Findings, space: Space) -> None:
        for text in findings.notes:
            self.record("finding", text=text)
        remaining = replace(self._state.definition, space=space)
        self._check_still_allowed(remaining)
        defaults = {n: v for n, v in findings.baseline.items() if n in searched(space)}
        baseline, note = remaining.constraints.baseline(defaults)
        if note is not None and remaining.baseline:
            self.record("finding", text=note)
        prepared = replace(
            remaining,
            baseline_params=baseline,
            data=findings.data,
            beliefs=findings.beliefs,
            step_law_octaves=None,
            budget=findings.budget,
            rungs=findings.rungs,
        ).to_document()
        self.record("study_prepared", **{key: prepared[key] for key in PREPARED})

    def _check_still_allowed(self, study: StudyDefinition) -> None:
        """Checks that the constraints still allow something after choices were dropped.

        Raises:
            UserError: they allow nothing.
        """
        if self._state.dropped:
            verdict = feasible.check(study.space, study.constraints, _key_in_tune)
            if verdict.problems:
                raise UserError(verdict.problems)

    def _host(self, trial: TrialResources) -> Host:
        return Host(
            folder=self._folder,
            url=self._study.url,
            working_directory=self._state.definition.working_directory,
            cache=cache_folder(),
            cpu=trial.cpu,
            gpu=trial.gpu,
        )


def _key_in_tune(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, ("tune", *path)))


def _leave(last_words: Callable[[str], None]) -> None:
    """Ends the process at once: waiting for Ray would hang, and the journal is complete."""
    last_words(f"{GONE}: {RESUME}")
    os._exit(UserError.exit_code)
