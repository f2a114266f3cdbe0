"""Standard output for verbs that print once and end."""

from __future__ import annotations

import sys

from rich.console import Console

PIPE_WIDTH = 240
"""Width in columns of output to a pipe or a file: wide enough for any table."""


def stdout() -> Console:
    """A console on stdout, as wide as the terminal, or `PIPE_WIDTH` columns without one."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(file=sys.stdout, highlight=False, width=width)
