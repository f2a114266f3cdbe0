"""Every verb that is found can be asked for help, and tells a mistake in one message."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.simulated import document, on_disk
from tune_app import plugins
from tune_app.__main__ import main

NAMES = plugins.names("verb")
NAMED = [name for name in ("show", "report", "resume", "stop", "mirror", "panels") if name in NAMES]
HEAVY = ("ray", "torch", "transformers", "datasets", "wandb", "optuna")


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`python -m tune_app WORDS`; the last line of stderr lists what heavy libraries it took."""
    code = (
        "import atexit, runpy, sys\n"
        f"heavy = {HEAVY}\n"
        "atexit.register(lambda: print([n for n in heavy if n in sys.modules], file=sys.stderr))\n"
        "sys.argv = ['tune_app', *sys.argv[1:]]\n"
        "runpy.run_module('tune_app', run_name='__main__')"
    )
    root = Path(__file__).parents[2]
    bootstrap = f"import sys; sys.path.insert(0, {str(root)!r})\n{code}"
    return subprocess.run(
        [sys.executable, "-c", bootstrap, *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


def took(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_verb_has_help_arguments_and_an_action(name: str) -> None:
    module = plugins.load("verb", name)
    assert isinstance(module.HELP, str)
    assert module.HELP
    assert "\n" not in module.HELP
    module.add_arguments(argparse.ArgumentParser())
    assert callable(module.execute)
    assert module.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_a_verb_can_be_asked_for_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    assert plugins.load("verb", name).HELP in " ".join(capsys.readouterr().out.split())


def test_help_names_every_verb_and_needs_no_heavy_library(tmp_path: Path) -> None:
    done = command("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert all(name in done.stdout for name in NAMES)
    assert took(done) == "[]"


@pytest.mark.parametrize("name", NAMED)
def test_a_study_that_is_not_there_is_one_message_and_exit_code_2(
    name: str, tmp_path: Path
) -> None:
    done = command(name, "nothing", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("error:") == 1
    assert "no study named 'nothing'" in done.stderr
    assert "Traceback" not in done.stderr
    assert took(done) == "[]"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("study", ["../x", "/etc", "", "a/b", "."])
def test_a_name_that_leaves_the_storage_is_exit_code_2(
    name: str, study: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, study, "--storage", str(tmp_path)]) == 2
    assert "cannot name a study" in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("content", ["", "rubbish\nrubbish\n", '{"event":"finding"'])
def test_a_damaged_journal_is_exit_code_2(
    name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "journal.jsonl").write_text(content)
    assert main([name, "broken", "--storage", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error:")


def test_an_empty_storage_lists_nothing(tmp_path: Path) -> None:
    done = command("list", "--json", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout), took(done)) == (0, [], "[]")


def test_a_damaged_study_is_listed_beside_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    simulation = on_disk(tmp_path / "good", document(trials=2))
    simulation.run()
    simulation.close()
    (tmp_path / "bad" / "journal.jsonl").write_text("{\n{\n")
    assert main(["list", "--json", "--storage", str(tmp_path)]) == 0
    rows = {row["name"]: row["status"] for row in json.loads(capsys.readouterr().out)}
    assert rows == {"good": "ended", "bad": "unreadable"}


def test_a_mistyped_study_is_told_with_the_nearest_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "quickstart-1").mkdir()
    on_disk(tmp_path / "quickstart-1", document(trials=1)).run()
    assert main(["show", "quikstart-1", "--storage", str(tmp_path)]) == 2
    assert "did you mean 'quickstart-1'?" in capsys.readouterr().err


def test_an_unknown_verb_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["frobnicate"])
    assert caught.value.code == 2
    assert "frobnicate" in capsys.readouterr().err
