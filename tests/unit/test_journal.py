"""The journal on a real disk: strict lines, torn ends, one writer, a full disk, followers."""

from __future__ import annotations

import fcntl
import json
import math
import os
import resource
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from tune_app.core.journal import (
    FILE_NAME,
    AlreadyRunning,
    Journal,
    encode,
    follow,
    is_locked,
    read,
)
from tune_app.errors import UserError


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        {"a": [math.nan, (1, math.inf)]},
        "Привет\n\r\u2028\x00\x85",
        1e-300,
        [None, True, 1, 1.0, "1"],
    ],
    ids=repr,
)
def test_every_line_is_strict_json_in_one_line(tmp_path: Path, value: Any) -> None:
    journal = Journal(tmp_path, clock=lambda: 1.23456)
    journal.append("first", value=value)
    journal.append("second")
    raw = journal.path.read_bytes()
    assert raw.count(b"\n") == 2
    for line in raw.decode("utf-8").removesuffix("\n").split("\n"):
        json.loads(line, parse_constant=refuse)


def test_metrics_that_are_not_finite_come_back(tmp_path: Path) -> None:
    metrics = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1.5}
    journal = Journal(tmp_path)
    journal.append("report", metrics=metrics)
    (event,), _ = read(journal.path)
    assert repr({name: float(value) for name, value in event["metrics"].items()}) == repr(metrics)


def test_append_returns_what_is_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path, clock=lambda: 1.23456)
    written = [journal.append("e", a=(1, 2), b={1: math.nan}), journal.append("f", text="\udc80")]
    assert read(journal.path) == (written, None)
    assert written[0] == {"event": "e", "time": 1.235, "a": [1, 2], "b": {"1": "NaN"}}
    assert written[1]["text"] == "\udc80"


def test_values_keep_their_types() -> None:
    line = encode({"event": "e", "values": [1, 1.0, True, "1", None]})
    assert repr(json.loads(line)["values"]) == "[1, 1.0, True, '1', None]"


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_last_line_is_found_and_cut_off(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path, clock=lambda: 0.0)
    whole = journal.append("one")
    journal.append("two")
    raw = journal.path.read_bytes()
    os.truncate(journal.path, len(raw) - min(cut, len(raw) // 2))
    events, tail = read(journal.path)
    assert events == [whole]
    if tail is not None:
        assert tail.text == journal.path.read_bytes()[tail.offset :].decode()
        journal.repair(tail)
    assert read(journal.path) == ([whole], None)
    written = journal.append("three")
    assert read(journal.path) == ([whole, written], None)


def test_a_last_line_of_rubbish_counts_as_torn(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b'{"event":"e","time":0}\n\xff\xfe\x00{\n')
    events, tail = read(path)
    assert len(events) == 1
    assert tail is not None
    assert tail.offset == 23


@pytest.mark.parametrize("line", ["{", "[]", "3", "", "null", '{"time":1}', '{"event":"a"} x'])
def test_a_broken_line_in_the_middle_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(f'{{"event":"e","time":0}}\n{line}\n{{"event":"e","time":0}}\n')
    with pytest.raises(UserError) as caught:
        read(path)
    assert caught.value.problems[0].where == f"{path}:2"


def test_an_empty_journal_has_no_events(tmp_path: Path) -> None:
    Journal(tmp_path)
    assert read(tmp_path / FILE_NAME) == ([], None)


def test_a_second_writer_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    first.append("one")
    with pytest.raises(UserError, match="already running"):
        Journal(tmp_path)
    first.append("two")
    assert [event["event"] for event in read(first.path)[0]] == ["one", "two"]
    first.close()
    Journal(tmp_path).append("three")
    assert len(read(first.path)[0]) == 3


def test_a_writer_in_another_process_is_seen_until_it_dies(tmp_path: Path) -> None:
    code = """
    import sys, time
    from pathlib import Path
    from tune_app.core.journal import Journal
    journal = Journal(Path(sys.argv[1]))
    print("open", flush=True)
    time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert is_locked(tmp_path)
        with pytest.raises(UserError, match="already running"):
            Journal(tmp_path)
        process.kill()
        process.wait()
    assert not is_locked(tmp_path)
    Journal(tmp_path).close()


def test_a_look_at_whether_a_study_runs_keeps_no_driver_from_starting(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            assert not is_locked(tmp_path / "elsewhere")
            is_locked(tmp_path)

    with ThreadPoolExecutor(4) as lookers:
        looks = [lookers.submit(look) for _ in range(4)]
        try:
            for number in range(300):
                journal = Journal(tmp_path)
                assert is_locked(tmp_path)
                journal.append("started", number=number)
                journal.close()
        finally:
            done.set()
        for item in looks:
            item.result()
    assert len(read(tmp_path / FILE_NAME)[0]) == 300


def test_a_driver_waits_for_a_look_to_end_and_of_several_drivers_one_starts(
    tmp_path: Path,
) -> None:
    (tmp_path / FILE_NAME).touch()
    with ThreadPoolExecutor(4) as drivers, open(tmp_path / FILE_NAME, "rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        begun = [drivers.submit(Journal, tmp_path) for _ in range(4)]
        assert not wait(begun, timeout=0.2).done
        fcntl.flock(looking, fcntl.LOCK_UN)
        errors = [item.exception() for item in begun]
    assert [type(error) for error in errors if error] == [AlreadyRunning] * 3
    assert is_locked(tmp_path)


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from tune_app.errors import UserError
    from tune_app.core.journal import Journal
    journal = Journal(Path(sys.argv[1]), clock=lambda: 0.0)
    for number in range(100):
        try:
            journal.append("event", number=number, padding="x" * 100)
        except UserError as error:
            print(number, error)
            journal.append("short")
            break
    """
    limit = 1000
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 0, done.stderr
    events, tail = read(tmp_path / FILE_NAME)
    assert tail is None
    assert "cannot write to the journal" in done.stdout
    written = int(done.stdout.split()[0])
    assert 1 < written < 100
    assert [event.get("number") for event in events] == [*range(written), None]


def test_a_follower_gets_every_event_once_and_none_when_there_is_no_more(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append("one")
    events = follow(journal.path, poll_s=0)
    assert next(events) == journal_events(journal)[0]
    assert next(events) is None
    journal.append("two")
    journal.append("three")
    assert [event and event["event"] for event in (next(events), next(events))] == ["two", "three"]
    assert next(events) is None


def test_a_follower_waits_for_the_rest_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    with open(path, "ab", buffering=0) as file:
        events = follow(path, poll_s=0)
        assert next(events) is None
        file.write(b'{"event":"e",')
        assert next(events) is None
        assert next(events) is None
        file.write(b'"time":0}\n')
        assert next(events) == {"event": "e", "time": 0}


def test_a_follower_survives_the_repair_of_a_torn_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append("one")
    events = follow(journal.path, poll_s=0)
    next(events)
    with open(journal.path, "ab", buffering=0) as file:
        file.write(b'{"event":"half')
    assert next(events) is None
    tail = read(journal.path)[1]
    assert tail is not None
    journal.repair(tail)
    written = journal.append("whole")
    assert next(events) == written


def journal_events(journal: Journal) -> list[dict[str, Any]]:
    return read(journal.path)[0]
