"""What a worker says it used."""

from __future__ import annotations

from itertools import count

from tune_app.training.system import Meter, resident_bytes


def test_processors_are_counted_between_readings() -> None:
    clock, cpu = count(0.0, 2.0), count(0.0, 3.0)
    meter = Meter(lambda: next(clock), lambda: next(cpu))
    assert [meter.read()["cpus"] for _ in range(2)] == [1.5, 1.5]


def test_memory_is_that_of_this_process() -> None:
    before = resident_bytes()
    kept = bytearray(200_000_000)
    kept[::4096] = b"x" * len(kept[::4096])
    assert resident_bytes() - before > 150_000_000
    assert Meter().read()["rss_gib"] > 0.2
