"""What a trainable's `prepare` returns: its data, ready on this node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.data import Dataset
    from transformers import PreTrainedTokenizerBase

Log = Callable[[str], None]
"""Takes one line of progress for the person who waits."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Training and held-out examples of one trainable, memory-mapped where they are large."""

    train: Dataset[Any]
    evaluation: Dataset[Any]
    tokens_per_sample: int
    """Tokens in one training example; every example has the same number."""
    tokenizer: PreTrainedTokenizerBase | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    """Plain values for terminal, journal and report: corpus, documents, tokens, fingerprint."""
