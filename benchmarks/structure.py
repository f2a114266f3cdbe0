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
from collections.abc import Iterator, Sequence
from pathlib import Path

PACKAGE = "tune_app"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--of", type=Path, default=Path(__file__).parents[1], metavar="CHECKOUT")
    parser.add_argument("--walk", action="store_true")
    args = parser.parse_args(arguments)
    for name, value in figures(args.of).items():
        print(f"{name:<34} {value}")
    if args.walk:
        for name, files in walks().items():
            print(f"\n{name}: {len(files)} files")
            print("\n".join(f"  {file}" for file in files))


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


def walks() -> dict[str, list[str]]:
    """The files that `learning_rate` passes on its way out, and `eval_loss` on its way back."""

    raise NotImplementedError


if __name__ == "__main__":
    main()
