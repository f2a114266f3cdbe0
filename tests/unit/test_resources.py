"""What a trial takes of a node, and what it is called."""

from __future__ import annotations

import pytest

from tune_app.engine.resources import TrialResources

A100S = {"CPU": 96.0, "GPU": 8.0}


@pytest.mark.parametrize(
    ("trial", "fits"),
    [
        (TrialResources(1, 0), 96),
        (TrialResources(8, 1), 8),
        (TrialResources(1, 0.4), 16),
        (TrialResources(8, 1, processes=2), 4),
        (TrialResources(8, 1, processes=3), 2),
        (TrialResources(12, 1, processes=8), 1),
        (TrialResources(13, 1, processes=8), 0),
        (TrialResources(1, 1, processes=9), 0),
        (TrialResources(32, 0, processes=2), 1),
    ],
)
def test_trials_fit_whole_on_a_node(trial: TrialResources, fits: int) -> None:
    assert trial.fit(A100S) == fits
    assert trial.fit({}) == 0


def test_ray_keeps_a_bundle_for_each_process_all_on_one_node() -> None:
    placement = TrialResources(8, 1, processes=3).placement()
    assert placement.bundles == [{"CPU": 8, "GPU": 1}] * 3
    assert placement.strategy == "STRICT_PACK"


@pytest.mark.parametrize(
    ("trial", "told"),
    [
        (TrialResources(0.5, 0), "0.5 CPUs"),
        (TrialResources(8, 1), "8 CPUs and 1 GPUs"),
        (TrialResources(8, 1, processes=4), "4 processes of 8 CPUs and 1 GPUs each"),
    ],
)
def test_a_person_is_told_of_each_process(trial: TrialResources, told: str) -> None:
    assert str(trial) == told
