"""Plug-ins: `find` gets their modules by file name, `make` makes what a study names of them."""

from tune_app.plugins.find import PACKAGES, load, names, numeric_options, option_problems

__all__ = ["PACKAGES", "load", "names", "numeric_options", "option_problems"]
