"""Model sizes by name, shared by what is trained from scratch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Depth and width of a transformer."""

    layers: int
    width: int
    heads: int


SIZES = {
    "nano": Size(2, 64, 2),
    "micro": Size(4, 128, 4),
    "mini": Size(6, 384, 6),
    "small": Size(12, 768, 12),
    "medium": Size(24, 1024, 16),
}
