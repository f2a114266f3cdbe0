"""The command line: a verb is a file with `HELP`, `add_arguments` and `execute`.

Answers come at once: only the verb that was chosen is imported, and a verb imports what is slow to
import (numpy, pydantic, plots, Ray and whatever needs them) in the function that works with it, not
at the top of its file. So do those of the files beside it that declare arguments.
"""
