"""Keeps the length of an epoch when a trial runs with a smaller batch than asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import Sampler
from transformers import Trainer


class FirstOf(Sampler[int]):
    """The first `count` indices of each epoch of another sampler."""

    def __init__(self, sampler: Any, count: int) -> None:
        self._sampler = sampler
        self._count = count

    def __len__(self) -> int:
        return min(self._count, len(self._sampler))

    def __iter__(self) -> Iterator[int]:
        return islice(iter(self._sampler), self._count)

    def set_epoch(self, epoch: int) -> None:
        if hasattr(self._sampler, "set_epoch"):
            self._sampler.set_epoch(epoch)


def end_after(trainer: Trainer, examples: int) -> None:
    """Ends each epoch after `examples`, counted over all processes.

    The rest of the data is less than a batch of the asked-for size, but may fill a smaller one. An
    epoch would then have more steps, and a resumed trial would not continue at the same place.
    """
    make = trainer.get_train_dataloader

    def get_train_dataloader() -> Any:
        loader = make()
        sampler = loader.get_sampler()
        if sampler is None:
            # With several processes accelerate wraps the batch sampler once more.
            sampler = loader.batch_sampler.batch_sampler.sampler
        loader.set_sampler(FirstOf(sampler, examples))
        return loader

    trainer.get_train_dataloader = get_train_dataloader
