"""The command line: a verb is a file with `HELP`, `add_arguments` and `execute`.

Short commands must answer at once. So only the chosen verb is imported, and modules that are slow
to import (numpy, pydantic, plots, Ray and whatever needs them) are imported inside the function
that uses them, not at the top of the file. So do the `_` files that declare arguments.
"""
