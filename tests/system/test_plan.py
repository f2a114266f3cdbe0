"""A plan from the command line: what it tells, and that it leaves nothing behind."""

from __future__ import annotations

import json

from tests.system.conftest import SMALL, Shell


def test_a_plan_is_told_and_nothing_but_the_cache_is_written(
    shell: Shell, no_orphans: None
) -> None:
    before = set(shell.folder.rglob("*"))
    done = shell.run("plan", str(SMALL), "--json", "--price-per-hour", "2")
    assert done.returncode == 0, done.stderr
    assert set(shell.folder.rglob("*")) == before
    plan = json.loads(done.stdout)
    assert plan["schedule"]["rungs"][0]["trials"]["mean"] == plan["budget"]["trials"]
    assert plan["schedule"]["runs"]["mean"] < plan["budget"]["trials"]
    assert plan["cost"]["money"]["low"] > 0
    assert plan["cost"]["gpu_hours"] is None
    assert plan["profiles"]
    assert all(p["tokens_per_s"] > 0 for p in plan["profiles"] if not p["error"])
    assert list((shell.cache / "probes").iterdir())


def test_a_plan_refuses_what_a_run_refuses(shell: Shell) -> None:
    before = set(shell.folder.rglob("*"))
    words: tuple[str, ...] = ("--set", "parameters.optim.values=[sgd, adamw_apex_fused]")
    words += ("--set", "drop_impossible=false")
    plan, run = (shell.run(*verb, str(SMALL), *words) for verb in (("plan",), ("run", "--plan")))
    assert plan.returncode == run.returncode == 2
    assert "NVIDIA apex is not installed" in plan.stderr
    assert plan.stderr == run.stderr
    assert set(shell.folder.rglob("*")) == before
