"""What each event does to the state of a study."""

from __future__ import annotations

import math

import pytest

from tests.support.simulated import Simulation, document, sometimes_diverging
from tests.support.state_story import Story, completed
from tune_app.core.state import StudyState
from tune_app.core.trial import Checkpoint, Kind, Outcome, Status


def test_a_new_trial_is_due() -> None:
    trial = Story().create()
    assert (trial.status, trial.due, trial.tokens, trial.fraction) == (Status.PAUSED, True, 0, 0.0)


def test_a_report_at_a_rung_is_the_trials_value_there() -> None:
    story = Story()
    trial = story.create()
    story.start(trial)
    story.report(trial, 3, 5.0, rung=0)
    story.report(trial, 5, 4.0)
    assert trial.rung_values == {0: 5.0}
    assert (trial.top_rung, trial.latest("eval_loss"), trial.latest("none")) == (0, 4.0, None)
    assert (trial.tokens, trial.fraction, trial.checkpoint) == (
        50,
        5 / 24,
        Checkpoint("0001", 3),
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_reported_but_has_no_rank(value: float) -> None:
    story = Story()
    trial = story.create()
    story.start(trial)
    story.report(trial, 3, value, rung=0)
    assert trial.rung_values == {}
    assert repr(trial.latest("eval_loss")) == repr(value)


@pytest.mark.parametrize(
    ("rung", "decision", "due"),
    [(None, None, True), (0, None, False), (0, "continue", True), (2, None, True)],
)
@pytest.mark.parametrize("event", ["segment_lost", "study_resumed", "trial_interrupted"])
def test_a_trial_without_its_worker_is_due_unless_the_scheduler_has_yet_to_answer(
    event: str, rung: int | None, decision: str | None, due: bool
) -> None:
    story = Story()
    trial = story.create()
    story.start(trial)
    if rung is not None:
        story.report(trial, 3, 5.0, rung=rung)
    if decision is not None:
        story.tell("decision", trial=trial.id, rung=rung, decision=decision)
    fields = {"trial": trial.id, "reason": "x"} if event == "segment_lost" else {}
    fields = (
        {"trial": trial.id, "checkpoint": "checkpoints/0001/step-9"}
        if event == "trial_interrupted"
        else fields
    )
    story.tell(event, **fields)
    assert (trial.status, trial.due) == (Status.PAUSED, due)
    assert trial.losses == (event == "segment_lost")


def test_the_baseline_is_due_without_a_decision() -> None:
    story = Story()
    trial = story.create(0, Kind.BASELINE)
    story.start(trial)
    story.report(trial, 3, 5.0, rung=0)
    story.tell("segment_lost", trial=trial.id, reason="")
    assert trial.due
    assert story.state.baseline() is trial


@pytest.mark.parametrize(
    ("decision", "status"),
    [("pause", Status.PAUSED), ("stop", Status.PAUSED), ("continue", Status.RUNNING)],
)
def test_a_decision_says_where_the_trial_stands(decision: str, status: Status) -> None:
    story = Story()
    trial = story.create()
    story.start(trial)
    story.report(trial, 3, 5.0, rung=0)
    story.tell("decision", trial=trial.id, rung=0, decision=decision)
    assert (trial.status, trial.due, trial.decided_rung) == (status, False, 0)


def test_work_after_the_last_checkpoint_is_forgotten_when_it_is_done_again() -> None:
    story = Story()
    trial = story.create()
    story.start(trial)
    story.report(trial, 3, 5.0, rung=0)
    story.tell("decision", trial=trial.id, rung=0, decision="continue")
    story.report(trial, 5, 4.0)
    story.tell("segment_lost", trial=trial.id, reason="")
    assert [report.step for report in trial.reports] == [3, 5]
    story.start(trial)
    assert [report.step for report in trial.reports] == [3]
    assert trial.segments == 2


def test_an_interruption_before_the_first_checkpoint_keeps_none() -> None:
    story = Story()
    trial = story.create()
    story.start(trial)
    story.tell("trial_interrupted", trial=trial.id, checkpoint=None)
    assert (trial.checkpoint, trial.due) == (None, True)


def test_the_best_is_the_lowest_or_the_highest_completed_value() -> None:
    for goal, best in (("minimize", 2), ("maximize", 1)):
        story = Story(metric={"name": "final_eval_loss", "goal": goal})
        completed(story, 1, 3.0)
        completed(story, 2, 1.0)
        completed(story, 3, 2.0)
        stopped = story.create(4)
        story.report(stopped, 3, 0.0 if goal == "minimize" else 9.0, rung=0)
        story.end(stopped, Outcome.STOPPED)
        found = story.state.best()
        assert found is not None
        assert found.number == best
        assert len(story.state.completed()) == 3


def test_equal_values_are_ranked_by_number() -> None:
    story = Story()
    for number in (3, 1, 2):
        completed(story, number, 1.0)
    assert [trial.number for trial in story.state.completed()] == [1, 2, 3]


def test_a_completed_trial_without_a_value_is_not_ranked() -> None:
    story = Story()
    story.end(story.create(), Outcome.COMPLETED)
    assert story.state.completed() == []
    assert story.state.best() is None


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_ends_a_trial_and_only_one_has_a_final_value(outcome: Outcome) -> None:
    story = Story()
    trial = story.create()
    story.start(trial)
    story.report(trial, 24, 1.0, rung=2)
    story.end(trial, outcome)
    assert (trial.status, trial.outcome, trial.reason) == (Status.ENDED, outcome, "r")
    value = 1.0 if outcome is Outcome.COMPLETED else None
    assert story.state.final_value(trial) == value


def test_time_between_sessions_is_not_counted() -> None:
    state = StudyState()
    state.apply({"event": "study_started", "time": 10.0, "study": document()})
    state.apply({"event": "finding", "time": 15.0, "text": "x"})
    state.apply({"event": "study_resumed", "time": 100.0})
    state.apply({"event": "finding", "time": 103.0, "text": "x"})
    assert state.elapsed_s == 8.0
    assert state.findings == ["x"]
    assert (state.started, state.updated) == (10.0, 103.0)


def test_a_resumed_study_has_not_ended() -> None:
    story = Story()
    story.tell("study_ended", reason="done")
    assert story.state.ended == "done"
    story.tell("study_resumed")
    assert story.state.ended is None


def test_preflight_replaces_the_space_and_nothing_else() -> None:
    story = Story()
    before = story.state.definition.to_document()
    changed = {"parameters": {}, "baseline_params": {"x": 1}, "data": {"tokens": 3}}
    story.tell("study_prepared", **changed)
    assert story.state.definition.to_document() == before | changed


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "pbt"])
def test_a_copy_goes_on_by_itself_and_comes_to_the_same(scheduler: str) -> None:
    study = document(scheduler={"name": scheduler}, trials=12)
    simulation = Simulation(study, workers=3, curve=sometimes_diverging, death=0.1)
    whole = simulation.run()
    state = StudyState()
    for number, event in enumerate(simulation.events):
        state.apply(event)
        before, copied = repr(state), state.copy()
        assert repr(copied) == before
        for later in simulation.events[number + 1 :]:
            copied.apply(later)
        assert repr(copied) == repr(whole)
        assert repr(copied.completed()) == repr(whole.completed())
        assert repr(state) == before


def test_an_event_of_another_version_changes_nothing_but_the_time() -> None:
    story = Story()
    before = repr(story.state.trials), story.state.definition
    story.tell("something_new", trial="nobody")
    assert (repr(story.state.trials), story.state.definition) == before
    assert story.state.updated == 1.0


def test_the_reported_metric_is_the_objective_without_final() -> None:
    story = Story(metric={"name": "final_eval_accuracy", "goal": "maximize"})
    assert (story.state.metric, story.state.reported_metric) == (
        "final_eval_accuracy",
        "eval_accuracy",
    )
    assert story.state.sign == -1
