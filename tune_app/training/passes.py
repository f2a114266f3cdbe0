"""Keeps the passes over the data as the asked-for batch size makes them, in smaller batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import Sampler
from transformers import Trainer


class FirstOf(Sampler[int]):
    """The first so many indices of each pass of another sampler."""

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
    """Lets each pass end after so many examples, counted over all processes.

    What is left over of the data may fill a smaller batch: with it a pass would have other steps,
    and a trial that goes on in smaller batches would not go on at the same place.
    """
    make = trainer.get_train_dataloader

    def get_train_dataloader() -> Any:
        loader = make()
        sampler = loader.get_sampler()
        if sampler is None:
            # Where each process has a part of the batches, they lie one deeper.
            sampler = loader.batch_sampler.batch_sampler.sampler
        loader.set_sampler(FirstOf(sampler, examples))
        return loader

    trainer.get_train_dataloader = get_train_dataloader
