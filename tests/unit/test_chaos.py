"""The verdict of the chaos benchmark is not blind, and says nothing against a sound journal.

The journals are of real worker processes, some of which die, under the real conductor.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import stress
from benchmarks.chaos import toy, verdict

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    home = tmp_path_factory.mktemp("stress")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(toy.STEP_S, "0.0001")
        patch.setenv(toy.BUGS, "0.1")
        patch.setattr(stress, "DEATH_SHARE", 0.03)
        stress.without_ray(home, trials=12, workers=3)
    text = (home / "stress" / "journal.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def judged(folder: Path, events: Lines, known: Lines | tuple[()] = ()) -> verdict.Verdict:
    text = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "journal.jsonl").write_text(text, encoding="utf-8")
    return verdict.judge(folder, {event["trial"]: event for event in known}, {})


def of(events: Lines, kind: str) -> Lines:
    return [event for event in events if event["event"] == kind]


def test_a_study_whose_workers_die_has_nothing_against_it(journal: Lines, tmp_path: Path) -> None:
    assert of(journal, "segment_lost")
    found = judged(tmp_path, journal, of(journal, "trial_ended"))
    assert (found.finished, found.notes) == (12, [])
    assert found.decisions > 24
    assert found.lost == found.doubled == found.unreadable == found.not_ended == 0
    assert found.wrong_values == found.other_decisions == 0


def without_its_first_end(events: Lines) -> Lines:
    return [event for event in events if event is not of(events, "trial_ended")[0]]


def with_an_end_twice(events: Lines) -> Lines:
    return [*events[:-1], of(events, "trial_ended")[0], events[-1]]


def with_another_value(events: Lines) -> Lines:
    return [_worse(event) if event is of(events, "report")[3] else event for event in events]


def _worse(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "metrics": {"eval_loss": event["metrics"]["eval_loss"] + 1e-9}}


def with_other_parameters(events: Lines) -> Lines:
    changed = of(events, "trial_created")[5]
    other = {**changed, "params": {**changed["params"], "x": 0.5}}
    return [other if event is changed else event for event in events]


def cut_short(events: Lines) -> Lines:
    return events[:-1]


@pytest.mark.parametrize(
    ("damage", "count"),
    [
        (without_its_first_end, "lost"),
        (with_an_end_twice, "doubled"),
        (with_another_value, "wrong_values"),
        (with_other_parameters, "other_decisions"),
        (cut_short, "not_ended"),
    ],
)
def test_each_kind_of_damage_is_seen(
    journal: Lines, tmp_path: Path, damage: Callable[[Lines], Lines], count: str
) -> None:
    found = judged(tmp_path, damage(journal), of(journal, "trial_ended"))
    assert getattr(found, count) > 0
