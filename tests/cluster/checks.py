"""What must be true of the cluster and of a study that was disturbed."""

from __future__ import annotations

import stat

from tests.cluster.scene import TRIAL, Scenario

TRIALS = 30


def check_token(it: Scenario) -> None:
    for machine in (it.head, *it.workers[:2]):
        mode = stat.S_IMODE((machine.home / ".ray" / "auth_token").stat().st_mode)
        assert mode == 0o600, f"the token on {machine.name} has mode {mode:o}"
    stranger = (
        "RAY_AUTH_TOKEN=0123456789abcdef0123456789abcdef python -c "
        f"'import ray; ray.init(\"{it.head.ip}:6379\")' >/dev/null 2>&1 || echo refused"
    )
    assert "refused" in it.laptop.on_head(stranger), "another token is taken"
    status = "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8265/api/jobs/"
    assert "401" in it.laptop.on_head(status), "the dashboard answers without a token"
    outside = f"curl -s -m 3 http://{it.head.ip}:8265/ >/dev/null || echo closed"
    assert "closed" in it.laptop.on_head(outside), "the dashboard is open to the network"
    it.say("  the token is a file of mode 0600 everywhere; who has another is refused; the")
    it.say("  dashboard is on loopback alone and asks for the token")


def check_study(it: Scenario, code: int | None) -> None:
    said = (it.folder / "driver.log").read_text(encoding="utf-8", errors="replace")
    assert code == 0, f"the driver ended with {code}:\n{said[-3000:]}"
    assert "Traceback" not in said
    ends = it.ends()
    assert len(ends) == TRIALS, f"{len(ends)} trials ended, not {TRIALS}"
    outcomes = {end["outcome"] for end in ends.values()}
    assert outcomes <= {"completed", "stopped"}, outcomes
    events = it.journal()
    assert events[-1]["event"] == "study_ended"
    created = [event["trial"] for event in events if event["event"] == "trial_created"]
    assert len(set(created)) == len(created), "a trial was created twice"
    rungs = [
        (e["trial"], e["rung"]) for e in events if e["event"] == "report" and e["rung"] is not None
    ]
    assert len(set(rungs)) == len(rungs), "a rung was counted twice"
    assert not it.head.runs(TRIAL), "a trial ran on the head"
    _check_secret(it)
    segments = sum(event["event"] == "segment_started" for event in events)
    it.say(
        f"  {len(ends)} trials in {segments} segments, {it.losses()} of them lost; no trial and no "
        "rung twice; those that had ended before the faults are as they were"
    )


def _check_secret(it: Scenario) -> None:
    """The token is nowhere but in its own files."""
    token = it.laptop.token.read_text().strip()
    for machine in (it.head, *it.workers[:2]):
        assert not machine.runs(token), f"the token is in a command line on {machine.name}"
    for path in it.folder.rglob("*"):
        if path.is_file() and path.name != "auth_token" and token.encode() in path.read_bytes():
            raise AssertionError(f"the token is in {path}")
    it.say("  the token is in no other file and in no command line")
