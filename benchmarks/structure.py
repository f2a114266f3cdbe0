"""Figures of the code's structure, for a comparison of two checkouts.

    python benchmarks/structure.py                    # this checkout
    python benchmarks/structure.py --of ../other      # another one
    python benchmarks/structure.py --walk             # the files that a value passes, by running it

Counts files at the root of the package, lengths of files and functions, `Any` in signatures, reads
of the study's document as a dictionary, and import arrows between folders. `--walk` sends
`learning_rate` from a study file to a real `Trainer` on this machine, and `eval_loss` back to the
study's state, and notes each file of the package through whose functions it goes.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
PACKAGE = "tune_app"
LEARNING_RATE = 0.00123457
"""A value that nothing else has."""
BESIDE = (
    "console/", "trackers/", "storage/", "space/", "core/tracking.py", "training/preflight/",
    # Where these were before they had a folder.
    "domains.py", "constraints.py", "preflight.py", "probe.py", "tracking.py", "training/preflight",
    "training/probe", "training/values", "training/schedules",
)  # fmt: skip
"""What looks at a trial before it starts, and at events: views, checks of the space, clean-up."""
STUDY = """
method: random
metric: {{name: eval_loss, goal: minimize}}
parameters:
  learning_rate: {{values: [{rate}]}}
  size: {{value: nano}}
  block_size: {{value: 32}}
  per_device_train_batch_size: {{value: 2}}
tune: {{budget: {{steps: 4, trials: 1, evaluations: 2}}, baseline: false}}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--of", type=Path, default=HERE.parent, metavar="CHECKOUT")
    parser.add_argument("--walk", action="store_true")
    args = parser.parse_args(arguments)
    for name, value in figures(args.of).items():
        print(f"{name:<34} {value}")
    if args.walk:
        for value, files in walks(args.of.resolve()).items():
            beside = [file for file in files if file.startswith(BESIDE)]
            print(f"\n{value} is handed to {len(files) - len(beside)} files on its way:")
            print("\n".join(f"  {file}" for file in files if file not in beside))
            print(f"and to {len(beside)} that look on: {', '.join(beside)}")


def figures(checkout: Path) -> dict[str, str]:
    """By what is counted, the figure as text."""
    files = sorted((checkout / PACKAGE).rglob("*.py"))
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    functions = [node for tree in trees.values() for node in _functions(tree)]
    lengths = [(node.end_lineno or node.lineno) - node.lineno + 1 for node in functions]
    lines = [
        len(file.read_text(encoding="utf-8").splitlines()) for file in files if file.stat().st_size
    ]
    arrows = {
        (source, target)
        for file in files
        for source, target in _arrows(checkout, file, trees[file])
    }
    return {
        "modules at the root": str(sum(file.parent.name == PACKAGE for file in files) - 1),
        "files: p50, p90, max lines": _spread(lines),
        "functions: p50, p90, max lines": _spread(lengths),
        "Any in signatures": str(sum(map(_any_in_signature, functions))),
        'reads of document["…"]': str(sum(map(_document_reads, trees.values()))),
        "import arrows between folders": str(len(arrows)),
    }


def _spread(numbers: list[int]) -> str:
    ordered = sorted(numbers)
    return f"{ordered[len(ordered) // 2]}, {ordered[9 * len(ordered) // 10]}, {ordered[-1]}"


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _any_in_signature(function: ast.FunctionDef) -> int:
    arguments = function.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    given += [item for item in (arguments.vararg, arguments.kwarg) if item is not None]
    notes = [item.annotation for item in given] + [function.returns]
    return sum(
        isinstance(node, ast.Name) and node.id == "Any"
        for note in notes
        if note is not None
        for node in ast.walk(note)
    )


def _document_reads(tree: ast.AST) -> int:
    """Of a name or attribute called `document`, with a constant key."""
    return sum(
        isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and _name(node.value) in ("document", "_document", "resolved")
        for node in ast.walk(tree)
    )


def _name(node: ast.expr) -> str:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def _arrows(checkout: Path, file: Path, tree: ast.AST) -> Iterator[tuple[str, str]]:
    """From the file's folder to each other folder, or file at the root, that it imports from."""
    source = _room(checkout, file.relative_to(checkout).with_suffix("").parts)
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        for module in modules:
            target = _room(checkout, tuple(module.split(".")))
            if module.startswith(PACKAGE) and target not in ("", source):
                yield source, target


def _room(checkout: Path, parts: tuple[str, ...]) -> str:
    """The folder that a module is in, or the module itself where it stands at the root."""
    for length in range(len(parts), 0, -1):
        path = checkout.joinpath(*parts[:length])
        if path.with_suffix(".py").is_file():
            return ".".join(parts[: length - 1]) if length > 2 else ".".join(parts[:length])
        if path.is_dir() and length > 1:
            return ".".join(parts[:length])
    return ""


def walks(checkout: Path) -> dict[str, list[str]]:
    """By value, the files of a checkout that get it while one trial runs, in order of time."""
    with TemporaryDirectory() as folder:
        notes, study = Path(folder, "notes"), Path(folder, "walk.yaml")
        notes.mkdir()
        study.write_text(STUDY.format(rate=LEARNING_RATE))
        command = [sys.executable, "-m", "tune_app.run", str(study)]
        environment = {
            "PYTHONPATH": os.pathsep.join([str(HERE / "value_walk"), str(checkout)]),
            "VALUE_WALK_LEARNING_RATE": str(LEARNING_RATE),
            "VALUE_WALK_OUT": str(notes),
            "VALUE_WALK_PACKAGE": str(checkout / PACKAGE) + os.sep,
        }
        subprocess.run(command, cwd=folder, env=os.environ | environment, check=True)
        lines = [line for file in notes.iterdir() for line in file.read_text().splitlines()]
    passed: dict[str, dict[str, None]] = {"learning_rate": {}, "eval_loss": {}}
    for _, value, file in sorted(line.split("\t") for line in lines):
        passed[value][str(Path(file).relative_to(checkout / PACKAGE))] = None
    return {value: list(files) for value, files in passed.items()}


if __name__ == "__main__":
    main()
