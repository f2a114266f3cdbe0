"""The seed among the parameters: it changes a trial's value, and nobody wants to know the best one.

It is searched so that the same values run several times. No model learns from it or chooses it,
and it has no importance: what it changes is noise.
"""

from __future__ import annotations

from tune_app.space.domains import Domain, Searched, Space, searched

SEED = "seed"


def searched_seed(space: Space) -> Searched | None:
    """What the seed is drawn from, None where it is not searched."""
    return searched(space).get(SEED)


def without_seed(space: Space) -> dict[str, Domain]:
    """The space without its seed."""
    return {name: domain for name, domain in space.items() if name != SEED}
