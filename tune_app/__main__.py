"""`python -m tune_app VERB`: each file in `tune_app/cli` is a verb."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tune_app import __version__, plugins
from tune_app.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the process's exit code.

    Raises:
        UserError: with --debug only; else the problems are printed.
    """
    words = sys.argv[1:] if argv is None else argv
    args = None
    try:
        args = _parser(words).parse_args(words)
        return int(plugins.load("verb", args.verb).execute(args))
    except UserError as error:
        if args is not None and args.debug:
            raise
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has closed it, as in `... | head`.
        sys.stderr.close()
        return 0


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """A parser with the names of all verbs, and the arguments of the chosen one.

    The other verbs are not imported, since their imports can be slow.
    """
    chosen = next((word for word in words if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog="python -m tune_app",
        description="Hyper-parameter search for Hugging Face training runs on Ray Tune.",
    )
    parser.add_argument("--version", action="version", version=f"tune_app {__version__}")
    choices = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in plugins.names("verb"):
        text = plugins.constant("verb", name, "HELP")
        verb = choices.add_parser(name, help=text, description=text)
        if name == chosen:
            verb.add_argument("--debug", action="store_true", help="show tracebacks")
            plugins.load("verb", name).add_arguments(verb)
    return parser


if __name__ == "__main__":
    sys.exit(main())
