"""Plug-ins: `find` gets their modules by file name, `make` makes what a study names of them."""

from tune_app.plugins.find import (
    PACKAGES,
    constant,
    load,
    names,
    numeric_options,
    option_problems,
)

__all__ = ["PACKAGES", "constant", "load", "names", "numeric_options", "option_problems"]
