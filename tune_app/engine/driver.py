"""Drives one study: preflight on a worker, then the search, until it ends or is interrupted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tune_app.budget import processes_of
from tune_app.cache import cache_folder
from tune_app.core.blame import PlugInFailed, blamed
from tune_app.core.conductor import Conductor, Segment
from tune_app.core.failures import Losses
from tune_app.core.journal import Journal
from tune_app.core.ports import Tracker
from tune_app.core.state import StudyState
from tune_app.engine import tuner
from tune_app.engine.cluster import Cluster
from tune_app.engine.demand import Demand, wait_for_a_machine, wanted
from tune_app.engine.remote import probed_elsewhere, received, told_of, united
from tune_app.engine.resources import TrialResources
from tune_app.engine.watch import head, lifeline
from tune_app.engine.worker import preflight
from tune_app.errors import Problem, UserError
from tune_app.plugins import make
from tune_app.space import feasible
from tune_app.space.constraints import Constraints
from tune_app.space.domains import (
    Choice,
    Domain,
    Fixed,
    from_document,
    to_document,
    without,
)
from tune_app.storage.disk_faults import is_full
from tune_app.storage.study import Study

GONE = "Ray is gone: one of its processes was killed, or the machine it ran on"
RESUME = "resume the study; nothing that was reported is lost"


class Driver:
    """One run of a study's driver, from preflight to the end or an interruption."""

    def __init__(
        self,
        study: Study,
        state: StudyState,
        journal: Journal,
        trackers: list[Tracker],
        cluster: Cluster,
    ) -> None:
        self._study = study
        self._folder = study.folder
        self._state = state
        self._journal = journal
        self._trackers = trackers
        self._cluster = cluster
        study.stop(False)
        self._conductor: Conductor | None = None
        self.probed: list[dict[str, Any]] = []
        """What came of trying the space's values, see `training.probe.Probed`."""

    def interrupt(self) -> bool:
        """Asks running trials to save a checkpoint, and starts no more; False before the first."""
        if self._conductor is None:
            return False
        self._study.stop(True)
        self._conductor.interrupted = True
        return True

    def prepare(self, progress: Callable[[str], None]) -> TrialResources:
        """Finds out all that can be known before the first trial.

        Raises:
            UserError: preflight found mistakes or raised, or nothing fits on the cluster.
        """
        asked = self._state.document["resources"]
        processes = processes_of(self._state.document)
        trial = TrialResources(asked["cpu"], asked["gpu"] or 0.0, processes)
        if self._cluster.grows and self._cluster.slots(trial) == 0:
            # What the first one has tells whether trials are to have a GPU.
            wait_for_a_machine(self._cluster, trial, progress)
        if asked["gpu"] is None:
            trial = replace(trial, gpu=float(self._cluster.has_gpu()))
        self._prepare(progress, trial, self._nodes(progress, trial))
        return trial

    def run(self, progress: Callable[[str], None], last_words: Callable[[str], None]) -> None:
        """Runs until the study ends or is interrupted; the state says which.

        Where Ray is gone it says so with `last_words` and ends the process.

        Raises:
            UserError: preflight found mistakes or raised, nothing fits on the cluster, or the
                disk is full.
        """
        trial = self.prepare(progress)
        conductor = self._conductor = self._make_conductor()
        limit = self._state.document["resources"]["concurrent"] or 10**6
        scratch = self._folder / "logs" / "ray_tune"
        demand = Demand(self._cluster, trial)

        def slots() -> int:
            there = self._slots(trial)
            demand.ask(min(limit, wanted(self._state)) - there)
            return int(min(limit, there))

        with (
            self._resumable(),
            self._full_disk_explained(),
            lifeline(head(), lambda: _leave(last_words)),
        ):
            tuner.run(
                conductor,
                slots=slots,
                config=lambda segment: self._config(segment, trial),
                trial=trial,
                scratch=scratch,
            )
        shutil.rmtree(scratch, ignore_errors=True)
        self._study.stop(False)
        if conductor.interrupted:
            conductor.record("study_interrupted")

    def _slots(self, trial: TrialResources) -> int:
        """How many trials fit now. On a cluster none may, until it has nodes again.

        Raises:
            UserError: the only node there was is gone.
        """
        slots = self._cluster.slots(trial)
        if slots == 0 and self._cluster.local:
            raise UserError(Problem(GONE, "local Ray", fix=RESUME))
        return slots

    def record(self, event: str, **fields: Any) -> None:
        """Writes an event before there is a conductor."""
        written = self._journal.append(event, **fields)
        self._state.apply(written)
        for tracker in self._trackers:
            tracker.on_event(written, self._state)

    @contextmanager
    def _full_disk_explained(self) -> Iterator[None]:
        """A full disk stops the study where it is, whoever met it."""
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
        """A plug-in that raises stops the study where it is."""
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
        document = self._state.document
        with blamed("searcher"):
            searcher = make.searcher(document)
        with blamed("scheduler"):
            scheduler = make.scheduler(document)
        return Conductor(
            self._state,
            self._journal,
            searcher,
            scheduler,
            self._trackers,
            document["baseline_params"] if document["baseline"] else None,
            losses=Losses(),
        )

    def _nodes(self, progress: Callable[[str], None], trial: TrialResources) -> dict[str, str]:
        """One node's id for each kind that trials fit on, at least one.

        Raises:
            UserError: nothing fits, and the cluster starts no machine.
        """
        nodes = self._cluster.kinds(trial)
        while not nodes and self._cluster.grows:
            # The one that was there has left again.
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
        """Preflight on a worker: names, probes, data. Its findings go to the journal once."""
        known = "baseline_params" in self._state.document
        document, cache = self._state.document, str(cache_folder())
        space: dict[str, Domain] = {
            name: from_document(item) for name, item in document["parameters"].items()
        }
        (kind, here), *others = nodes.items()
        elsewhere = [] if known else probed_elsewhere((document, cache), trial, dict(others))
        for item in received(preflight, (document, cache, not known), trial, here):
            if "line" in item:
                progress(item["line"])
            if "impossible" in item:
                self.probed = item["probed"]
                found = told_of(kind, item["impossible"]) if others else item["impossible"]
                space = self._without_impossible(space, united(found, elsewhere))
            if "findings" in item and not known:
                self._keep(item["findings"], space)

    def _without_impossible(
        self, space: dict[str, Domain], impossible: list[tuple[str, Any, str]]
    ) -> dict[str, Domain]:
        """The space without the choices that cannot run here, if that is wanted.

        Raises:
            UserError: it is not wanted, or nothing would be left of a parameter.
        """
        allowed = self._state.document["drop_impossible"]
        problems = []
        for name, value, reason in impossible:
            domain, text = space[name], json.dumps(value)
            what, fix = f"the choice {text} cannot run here: {reason}", ""
            if not isinstance(domain, Choice):
                what, fix = f"{text} cannot run here: {reason}", "choose another value"
            elif not allowed:
                fix = "leave it out of the file, or add --drop-impossible to go on without it"
            else:
                self.record("choice_dropped", parameter=name, value=value, reason=reason)
                space = {**space, name: without(domain, value)}
                continue
            problems.append(Problem(what, f"parameters.{name}", fix=fix))
        if problems:
            raise UserError(problems)
        return space

    def _keep(self, findings: dict[str, Any], space: dict[str, Domain]) -> None:
        for text in findings["notes"]:
            self.record("finding", text=text)
        searched_defaults = {
            name: value
            for name, value in findings["baseline"].items()
            if not isinstance(space[name], Fixed)
        }
        parameters = {name: to_document(domain) for name, domain in space.items()}
        constraints = Constraints.of_document({**self._state.document, "parameters": parameters})
        self._check_still_allowed(space, constraints)
        baseline, note = constraints.baseline(searched_defaults)
        if note is not None and self._state.document["baseline"]:
            self.record("finding", text=note)
        self.record(
            "study_prepared",
            data=findings["data"],
            baseline_params=baseline,
            parameters=parameters,
            prior=findings["prior"],
            budget=findings["budget"],
            rungs=findings["rungs"],
        )

    def _check_still_allowed(self, space: dict[str, Domain], constraints: Constraints) -> None:
        """Without the choices that cannot run here the constraints may allow nothing.

        Raises:
            UserError: they do.
        """
        if self._state.dropped:
            problems = feasible.check(
                space, constraints, lambda path: ".".join(map(str, ("tune", *path)))
            )
            if problems.problems:
                raise UserError(problems.problems)

    def _config(self, segment: Segment, resources: TrialResources) -> dict[str, Any]:
        """What `run_segment` gets: plain data only."""
        document = self._state.document
        trial = self._state.trials[segment.trial]
        constants = {
            name: item["value"]
            for name, item in document["parameters"].items()
            if item["type"] == "fixed"
        }
        params = Constraints.of_document(document).active({**constants, **segment.params})
        needed = ("trainable", "rungs", "budget", "prompt", "accelerator")
        return {
            "folder": str(self._folder),
            "url": self._study.url,
            "cpu": resources.cpu,
            "gpu": resources.gpu,
            "working_directory": document["working_directory"],
            "task": {
                "document": {key: document[key] for key in needed},
                "trial": segment.trial,
                "params": params,
                "seed": document["seed"],
                "checkpoint": segment.checkpoint,
                "seconds_before": trial.seconds,
                "max_steps": trial.effective.get("max_steps"),
                "has_new_values": bool(trial.takeovers),
                "is_halved": segment.is_halved,
                "wants_untrained_sample": segment.wants_untrained_sample,
                "cache": str(cache_folder()),
                "processes": resources.processes,
            },
        }


def _leave(last_words: Callable[[str], None]) -> None:
    """Nothing that waits for Ray can be waited for; the journal has all that was reported."""
    last_words(f"{GONE}: {RESUME}")
    os._exit(UserError.exit_code)
