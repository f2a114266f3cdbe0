"""Which documents are held out: decided by their text alone.

Every text falls into one of 1,024 buckets by a hash of its contents; the first few buckets are
held out. Copies of a text therefore stand on the same side, and every process decides alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

BUCKETS = 1024
SHARE = 0.05
"""Part of the characters that is held out of a large corpus."""
ENOUGH_CHARACTERS = 130_000
"""Held out of a small corpus where that is at most a fifth of it: about 32,768 tokens."""
RULE = f"blake2b/{BUCKETS}/{SHARE}/{ENOUGH_CHARACTERS}"


@dataclass(frozen=True)
class Split:
    """What a corpus amounts to, and how many buckets of it are held out."""

    documents: int
    characters: int
    training_characters: int
    held_out_buckets: int

    def holds_out(self, text: str) -> bool:
        """Whether a document is kept from training."""
        return _bucket(text) < self.held_out_buckets

    def as_facts(self) -> dict[str, Any]:
        """Plain values, from which `Split(**facts)` comes back."""
        return asdict(self)


def survey(documents: Iterable[str]) -> Split:
    """Counts a corpus and settles its split; reads it once and keeps nothing of it."""
    characters = [0] * BUCKETS
    number = 0
    for text in documents:
        number += 1
        characters[_bucket(text)] += len(text)
    total = sum(characters)
    wanted = max(SHARE * total, min(ENOUGH_CHARACTERS, total / 5))
    held_out = taken = 0
    while held_out < wanted and taken < BUCKETS:
        held_out += characters[taken]
        taken += 1
    return Split(number, total, total - held_out, taken)


def _bucket(text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS
