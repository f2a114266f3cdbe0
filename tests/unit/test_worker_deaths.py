"""What a worker's death is called, and whose fault it is taken for. No GPU is needed: the errors
that torch, Triton, NCCL and Ray raise are stood in for by their texts and classes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch
from ray.air.execution._internal.actor_manager import RayActorManager

from tests.support.simulated import defined
from tune_app.engine import deaths, remote, tuner
from tune_app.engine.resources import TrialResources
from tune_app.errors import UserError
from tune_app.storage import objects
from tune_app.training.attempt_result import failure
from tune_app.training.device import DeviceLost, check_device


@pytest.mark.parametrize(
    "text",
    [
        "[enforce fail at alloc_cpu.cpp:114] . DefaultCPUAllocator: can't allocate memory",
        "CUDA error: out of memory",
        "CUDA driver error: out of memory",
        "Triton Error [CUDA]: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
        "NCCL error: unhandled cuda error. Last error:\nCuda failure 2 'out of memory'",
    ],
)
def test_what_did_not_fit_is_tried_in_halves(text: str) -> None:
    assert failure(RuntimeError(text), {"accumulation": 2}, "").event == "batch_halved"


def test_another_error_of_a_gpu_fails_the_trial() -> None:
    told = failure(RuntimeError("CUDA error: device-side assert triggered"), {"a": 2}, "")
    assert told.fields["outcome"] == "failed"


def test_a_process_whose_gpu_is_unusable_takes_no_other_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "synchronize", broken)
    check_device()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(DeviceLost, match="device-side assert"):
        check_device()


def test_what_ray_says_of_a_worker_is_a_death_to_tune_and_no_end_of_the_study() -> None:
    for lost in (ray.exceptions.OutOfMemoryError("killed"), ray.exceptions.NodeDiedError("gone")):
        told = deaths.as_death(lost)
        assert isinstance(told, ray.exceptions.RayActorError)
        assert type(lost).__name__ in str(told)
    for known in (ray.exceptions.ActorDiedError(), ValueError("of the driver")):
        assert deaths.as_death(known) is known
    assert RayActorManager._actor_task_failed is deaths._task_failed


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ray.exceptions.OutOfMemoryError("Task was killed"), "memory of the node"),
        (DeviceLost("an earlier trial left the GPU unusable"), "GPU unusable"),
        (ray.exceptions.ActorDiedError(), None),
    ],
)
def test_the_cause_of_a_death_is_told_where_it_is_known(
    error: Exception, told: str | None, tmp_path: Path
) -> None:
    slots: Any = None
    bridge = tuner._Bridge(slots, slots, slots)
    file = tmp_path / "error.txt"
    trial = SimpleNamespace(trial_id="a", error_file=str(file))
    tuner._Decisions(bridge).on_trial_error(None, trial)
    assert bridge.causes == {}
    file.write_text(f"Failure # 1\n{type(error).__name__}: {error}\n", encoding="utf-8")
    tuner._Decisions(bridge).on_trial_error(None, trial)
    assert told is None or told in bridge.causes["a"]
    assert told is not None or bridge.causes == {}


@pytest.mark.parametrize("gone", remote.GONE)
def test_a_node_that_goes_away_before_the_first_trial_is_told_without_a_traceback(
    gone: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = gone.__new__(gone)

    def lost(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(ray, "remote", lambda **_: lambda call: SimpleNamespace(options=lost))
    items = remote.received(print, defined(), (), TrialResources(1, 0, 1))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the worker was lost before the first trial"):
        list(items)


def test_credentials_in_the_address_of_a_server_are_not_told_to_ray(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://minio.local:9000")
    assert objects.settings()["AWS_ENDPOINT_URL"] == "https://minio.local:9000"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://name:secret@minio.local:9000")
    told = objects.settings()
    assert "secret" not in str(told)
    assert told["AWS_REGION"] == "eu-north-1"
