"""Plug-ins are found by the name of their file, by module path, or by a path of the user's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tune_app import plugins
from tune_app.core.blame import blamed
from tune_app.errors import UserError


@pytest.mark.parametrize("kind", plugins.PACKAGES)
def test_there_are_plugins_of_every_kind_and_none_is_private(kind: str) -> None:
    found = plugins.names(kind)
    assert found
    assert found == sorted(found)
    assert not any(name.startswith("_") for name in found)


def test_a_new_file_is_found_without_any_registration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own.py").write_text("def create(space, seed): return 'mine'")
    (tmp_path / "_private.py").write_text("")
    from tune_app import searchers

    monkeypatch.setattr(searchers, "__path__", [*searchers.__path__, str(tmp_path)])
    assert "my_own" in plugins.names("searcher")
    assert "_private" not in plugins.names("searcher")
    assert plugins.load("searcher", "my_own").create({}, 0) == "mine"


def test_a_plugin_is_found_by_name_and_by_module_path() -> None:
    by_name = plugins.load("searcher", "random")
    assert plugins.load("searcher", "tune_app.searchers.random") is by_name
    assert by_name.__name__ == "tune_app.searchers.random"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("HELP =", "not Python"),
        ("", "no HELP"),
        ("HELP = 3", "no HELP"),
        ("HELP = str(3)", "no HELP"),
        ("if True:\n    HELP = 'x'", "no HELP"),
    ],
)
def test_a_file_that_does_not_say_what_it_is_for_is_named(
    content: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tune_app import cli

    (tmp_path / "my_own.py").write_text(content)
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    with pytest.raises(UserError, match=rf"my_own\.py.*{problem}"):
        plugins.constant("verb", "my_own", "HELP")


def test_what_a_file_is_for_is_read_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tune_app import cli

    (tmp_path / "my_own.py").write_text("import nothing_of_that_name\nHELP = ('do ' 'it')")
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    assert plugins.constant("verb", "my_own", "HELP") == "do it"


def test_a_file_is_imported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Config:\n    a: int = 3\n"
    )
    module = plugins.load("trainable", str(path))
    assert module.Config().a == 3
    monkeypatch.chdir(tmp_path)
    assert plugins.load("trainable", "mine.py") is module


def test_a_file_has_one_module_name_in_every_process(tmp_path: Path) -> None:
    """What a driver pickles of a user's classes, a worker finds."""
    path = tmp_path / "mine.py"
    path.write_text("class Config:\n    pass\n")
    code = "import sys; from tune_app import plugins; "
    code += "print(plugins.load('trainable', sys.argv[1]).Config.__module__)"
    names = {
        subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(names) == 1


def test_two_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    modules = []
    for number in (1, 2):
        path = tmp_path / str(number) / "mine.py"
        path.parent.mkdir()
        path.write_text(f"number = {number}")
        modules.append(plugins.load("tracker", str(path)))
    assert [module.number for module in modules] == [1, 2]


@pytest.mark.parametrize(
    "reference",
    ["", ".", "..", "a.", ".a", "a..b", "nope", "no.such.thing", "missing.py", ".py", "os.nope"],
)
def test_what_cannot_be_found_is_a_message(reference: str) -> None:
    with pytest.raises(UserError) as caught:
        plugins.load("searcher", reference, "f.yaml:1:1")
    assert caught.value.problems[0].where == "f.yaml:1:1"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("def create(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise ValueError('no')", "ValueError: no"),
        ("\x00", "null bytes"),
    ],
)
def test_a_file_that_raises_is_a_message_and_can_be_corrected(
    tmp_path: Path, code: str, message: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(code)
    with pytest.raises(UserError, match=message):
        plugins.load("scheduler", str(path))
    path.write_text("fixed = True  # longer than before, so that no stale bytecode is used")
    assert plugins.load("scheduler", str(path)).fixed


def test_a_mistyped_name_is_told_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match="did you mean 'random'"):
        plugins.load("searcher", "randon")


def test_options_are_the_keyword_only_arguments_of_create() -> None:
    def create(space: Any, seed: int, *, startup: int = 1, needed: int) -> None: ...

    module: Any = SimpleNamespace(create=create, __name__="mine")
    assert plugins.option_problems(module, {"needed": 1}, "here") == []
    told = plugins.option_problems(module, {"strtup": 1, "seed": 3}, "here")
    assert [problem.what for problem in told] == [
        "unknown option 'strtup'",
        "unknown option 'seed'",
        "the option 'needed' is missing",
    ]
    assert "did you mean 'startup'?" in told[0].fix
    bare: Any = SimpleNamespace(create=lambda: 0, __name__="m")
    (told_of_none,) = plugins.option_problems(bare, {"x": 1}, "")
    assert told_of_none.fix == "leave it out: there are no options"
    empty: Any = SimpleNamespace(__name__="m")
    assert "no function create" in plugins.option_problems(empty, {}, "")[0].what


def test_to_name_the_plugins_imports_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from tune_app import plugins\n"
        "[plugins.names(kind) for kind in plugins.PACKAGES]\n"
        "print(sorted({'torch', 'ray', 'transformers', 'wandb', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("file", "code", "line"),
    [
        ("/home/me/mine.py", "def suggest(): return 1 / 0", "/home/me/mine.py, line 1"),
        ("/home/me/mine.py", "import random\ndef suggest(): random.choice([])", "mine.py, line 2"),
        ("/venv/lib/site-packages/theirs.py", "def suggest(): return 1 / 0", "theirs.py, line 1"),
    ],
)
def test_what_a_plugin_raises_is_told_with_the_last_line_that_is_not_of_a_library(
    file: str, code: str, line: str
) -> None:
    names: dict[str, Any] = {}
    exec(compile(code, file, "exec"), names)
    caller = compile("with blamed('searcher'): suggest()", "/x/site-packages/tune_app/a.py", "exec")
    with pytest.raises(UserError, match=line):
        exec(caller, {"blamed": blamed, "suggest": names["suggest"]})
