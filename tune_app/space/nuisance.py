"""The seed as a searched parameter: it changes a trial's result, but its best value is no finding.

It is searched so that the same values run several times. No model learns from it or chooses it,
and it has no importance: its effect is noise.
"""

from __future__ import annotations

from tune_app.space.domains import Domain, Searched, Space, searched

SEED = "seed"


def searched_seed(space: Space) -> Searched | None:
    """The domain of the seed, None if it is not searched."""
    return searched(space).get(SEED)


def without_seed(space: Space) -> dict[str, Domain]:
    """The space without its seed."""
    return {name: domain for name, domain in space.items() if name != SEED}
