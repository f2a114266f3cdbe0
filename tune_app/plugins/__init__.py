"""Plug-ins: `find` imports their modules by file name, `make` creates those of a study."""

from tune_app.plugins.find import (
    PACKAGES,
    constant,
    load,
    names,
    numeric_options,
    option_problems,
)

__all__ = ["PACKAGES", "constant", "load", "names", "numeric_options", "option_problems"]
