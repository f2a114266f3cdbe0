"""The held-out split: whether a document is held out depends on its text alone.

A hash of its contents assigns every text to one of 1,024 buckets; the first few buckets are held
out. So copies of a text are on the same side, and every process makes the same split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

BUCKETS = 1024
SHARE = 0.05
"""Fraction of the characters of a large corpus that is held out."""
ENOUGH_CHARACTERS = 130_000
"""Held out of a small corpus, but at most a fifth of it; about 32,768 tokens."""
RULE = f"blake2b/{BUCKETS}/{SHARE}/{ENOUGH_CHARACTERS}"


@dataclass(frozen=True)
class Split:
    """The size of a corpus, and how many buckets of it are held out."""

    documents: int
    characters: int
    training_characters: int
    held_out_buckets: int

    def holds_out(self, text: str) -> bool:
        """Whether a document is held out."""
        return _bucket(text) < self.held_out_buckets

    def as_facts(self) -> dict[str, Any]:
        """Plain values, from which `Split(**facts)` restores the split."""
        return asdict(self)


def survey(documents: Iterable[str]) -> Split:
    """Counts a corpus and determines its split; reads it once, as a stream."""
    characters = [0] * BUCKETS
    number = 0
    for text in documents:
        number += 1
        characters[_bucket(text)] += len(text)
    total = sum(characters)
    goal = max(SHARE * total, min(ENOUGH_CHARACTERS, total / 5))
    held_out = taken = 0
    while held_out < goal and taken < BUCKETS:
        held_out += characters[taken]
        taken += 1
    return Split(number, total, total - held_out, taken)


def _bucket(text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS
