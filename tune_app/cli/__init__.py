"""The command line: a verb is a file with `HELP`, `add_arguments` and `execute`.

`execute(args)` runs the verb and returns the exit code; it raises `UserError` for mistakes.

To start fast only the chosen verb is imported, and modules that are slow to import (numpy,
pydantic, plots, Ray and what depends on them) are imported in the functions that use them, not at
the top of a file. This also holds for the helper modules here that declare arguments.
"""
