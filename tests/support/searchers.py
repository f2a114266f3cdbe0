"""Which searchers there are, by what they say of themselves."""

from __future__ import annotations

from tune_app import plugins
from tune_app.core.ports import learns_from_history
from tune_app.space.domains import Choice

LEARNING = [
    name
    for name in plugins.names("searcher")
    if learns_from_history(plugins.load("searcher", name).create({"x": Choice((1, 2))}, 0))
]
"""Those whose suggestions depend on what trials came to."""
