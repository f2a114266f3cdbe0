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
HEAVY = {
    *("numpy", "scipy", "scipy.stats", "pandas", "pyarrow", "matplotlib", "pydantic", "yaml"),
    *("ray", "torch", "transformers", "datasets", "wandb", "optuna"),
}


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`python -m tune_app WORDS`; the last line of stderr lists the modules that it imported."""
    code = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
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


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    return set(done.stderr.splitlines()[-1].split())


def took(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The heavy libraries that it imported."""
    return HEAVY & imported(done)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """Holds one study, `good`, that has ended with trials enough to tell what mattered."""
    (tmp_path / "good").mkdir()
    simulation = on_disk(tmp_path / "good", document(trials=12))
    simulation.run()
    simulation.close()
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_verb_has_help_arguments_and_an_action(name: str) -> None:
    module = plugins.load("verb", name)
    assert isinstance(module.HELP, str)
    assert module.HELP
    assert plugins.constant("verb", name, "HELP") == module.HELP
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


def test_help_names_every_verb_and_imports_none(tmp_path: Path) -> None:
    done = command("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert all(name in done.stdout for name in NAMES)
    assert not imported(done) & {f"tune_app.cli.{name}" for name in NAMES}
    assert took(done) == set()


@pytest.mark.parametrize("words", [[name, "--help"] for name in NAMES], ids=" ".join)
def test_the_help_of_a_verb_imports_no_heavy_library(words: list[str], tmp_path: Path) -> None:
    done = command(*words, cwd=tmp_path)
    assert (done.returncode, took(done)) == (0, set())


@pytest.mark.parametrize("words", [[], ["frobnicate"], ["show"], ["run", "--seed", "x"]])
def test_a_usage_error_imports_no_heavy_library(words: list[str], tmp_path: Path) -> None:
    done = command(*words, cwd=tmp_path)
    assert (done.returncode, took(done)) == (2, set())
    assert done.stderr.startswith("usage:")


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
    assert took(done) == set()
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
    assert (done.returncode, json.loads(done.stdout), took(done)) == (0, [], set())


def test_listing_studies_imports_no_heavy_library(storage: Path) -> None:
    done = command("list", "--storage", str(storage), cwd=storage)
    assert done.returncode == 0
    assert "good" in done.stdout
    assert took(done) == set()


def test_showing_a_study_imports_no_heavy_library_but_numpy_and_functions_of_scipy(
    storage: Path,
) -> None:
    done = command("show", "good", "--storage", str(storage), cwd=storage)
    assert done.returncode == 0
    assert "12 trials" in done.stdout
    assert took(done) <= {"numpy", "scipy"}


def test_a_damaged_study_is_listed_beside_the_others(
    storage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (storage / "bad").mkdir()
    (storage / "bad" / "journal.jsonl").write_text("{\n{\n")
    assert main(["list", "--json", "--storage", str(storage)]) == 0
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
