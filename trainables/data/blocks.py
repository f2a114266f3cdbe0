"""Text packed into blocks of equal length, for language models.

The tokens of all documents, each followed by the end-of-text token, are stored as one stream for
each side (training, held out) in the smallest type that holds them. Blocks are cut when a sample is
read, so that another block size needs no other cache. An incomplete last block is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from trainables.data.corpora import Corpus, CorpusOptions, empty, texts
from trainables.data.sources import open_corpus
from trainables.data.split import RULE, Split, survey
from trainables.data.store import ensure, key_of
from trainables.data.vocabulary import (
    encode,
    end_of,
    identity_of,
    load_bpe,
    load_pretrained,
    train_bpe,
)
from tune_app.errors import Problem, UserError
from tune_app.training.data import Data, Log

IGNORED = -100
"""The label that losses ignore."""

_BATCH_CHARACTERS = 2_000_000


class Blocks(Dataset[dict[str, torch.Tensor]]):
    """Blocks of a memory-mapped stream of tokens; a pickled copy maps the file again."""

    def __init__(self, path: Path, dtype: str, block_size: int, numbers: Sequence[int]) -> None:
        self._arguments = (path, dtype, block_size, numbers)
        self._numbers = numbers
        tokens = np.memmap(path, dtype=dtype, mode="r")
        self._blocks = tokens[: tokens.size // block_size * block_size].reshape(-1, block_size)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        block = torch.from_numpy(self._blocks[self._numbers[index]].astype(np.int64))
        labels = block.clone()
        # Nothing predicts the first token. A loss whose mean counts it anyway (that of `Trainer`
        # for GPT-2 in 5.23) is too small by one part in `block_size`.
        labels[0] = IGNORED
        return {"input_ids": block, "labels": labels}

    def __reduce__(self) -> tuple[type[Blocks], tuple[Path, str, int, Sequence[int]]]:
        return Blocks, self._arguments


def prepare_blocks(
    options: CorpusOptions,
    *,
    tokenizer: str,
    tokenizer_revision: str | None = None,
    vocab_size: int,
    block_size: int,
    eval_tokens: int,
    cache: Path,
    log: Log,
) -> Data:
    """Training and held-out blocks of a corpus; built once, later only opened.

    Args:
        tokenizer: `bpe` to train one of `vocab_size` tokens, or a folder or a name on the hub.
        block_size: tokens in a block.
        eval_tokens: at most this many held-out tokens are evaluated, evenly spread over all.

    Raises:
        UserError: the corpus or the tokenizer cannot be loaded, or there is too little text.
    """
    corpus = open_corpus(options, cache, log)
    split = settle_split(corpus, options.text_column, cache, log)
    if tokenizer == "bpe":
        words = trained_tokenizer(corpus, options.text_column, split, vocab_size, cache, log)
    else:
        words = load_pretrained(tokenizer, tokenizer_revision)
    folder, facts = _streams(corpus, options.text_column, split, words, cache, log)
    _check_size(corpus, facts, block_size)
    training_blocks = range(facts["train_tokens"] // block_size)
    held_out_blocks = facts["held_out_tokens"] // block_size
    kept = min(held_out_blocks, max(1, eval_tokens // block_size))
    numbers = [index * held_out_blocks // kept for index in range(kept)]
    facts |= {"eval_tokens": kept * block_size, "eval_blocks": kept, "cache": folder.name}
    return Data(
        train=Blocks(folder / "train.bin", facts["dtype"], block_size, training_blocks),
        evaluation=Blocks(folder / "held_out.bin", facts["dtype"], block_size, numbers),
        tokens_per_sample=block_size,
        tokenizer=words,
        facts=facts,
    )


def settle_split(corpus: Corpus, column: str | None, cache: Path, log: Log) -> Split:
    """The split of a corpus, counted once."""

    def make(folder: Path) -> dict[str, Any]:
        split = survey(texts(corpus, column))
        if not split.documents:
            raise UserError(empty(corpus))
        log(
            f"reading {corpus.name}: {split.documents:,} documents, {split.characters:,} characters"
        )
        return split.as_facts()

    return Split(**ensure(cache / "splits" / key_of(corpus.fingerprint, column, RULE), make, log))


def trained_tokenizer(
    corpus: Corpus, column: str | None, split: Split, vocab_size: int, cache: Path, log: Log
) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on the training documents, once for each vocabulary size."""

    def make(folder: Path) -> dict[str, Any]:
        log(f"training a byte-level BPE of {vocab_size:,} tokens")
        documents = (text for text in texts(corpus, column) if not split.holds_out(text))
        size = train_bpe(folder, documents, split.training_characters, vocab_size)
        return {"vocab_size": size, "asked": vocab_size}

    key = key_of(corpus.fingerprint, column, RULE, "byte-level BPE", vocab_size)
    folder = cache / "tokenizers" / key
    ensure(folder, make, log, needed_bytes=60 * vocab_size)
    return load_bpe(folder)


def _streams(
    corpus: Corpus,
    column: str | None,
    split: Split,
    tokenizer: PreTrainedTokenizerFast,
    cache: Path,
    log: Log,
) -> tuple[Path, dict[str, Any]]:
    """The folder with both streams, and facts about them."""
    dtype = "uint16" if len(tokenizer) <= 1 << 16 else "uint32"

    def make(folder: Path) -> dict[str, Any]:
        counts = _write(folder, texts(corpus, column), split, tokenizer, dtype)
        tokens = sum(counts.values())
        log(f"{corpus.name}: {counts['train_tokens']:,} tokens to train on")
        return {
            "corpus": corpus.name,
            "documents": split.documents,
            "characters": split.characters,
            **counts,
            "vocab_size": len(tokenizer),
            "characters_per_token": round(split.characters / tokens, 3),
            "fingerprint": corpus.fingerprint,
            "dtype": dtype,
        }

    key = key_of(corpus.fingerprint, column, RULE, identity_of(tokenizer), dtype)
    folder = cache / "tokens" / key
    # Half a token per character is more than any usual text needs.
    needed = split.characters // 2 * np.dtype(dtype).itemsize
    return folder, ensure(folder, make, log, needed)


def _write(
    folder: Path,
    documents: Iterable[str],
    split: Split,
    tokenizer: PreTrainedTokenizerFast,
    dtype: str,
) -> dict[str, int]:
    """Writes both streams; returns the number of tokens in each."""
    end = end_of(tokenizer)
    counts = {"train_tokens": 0, "held_out_tokens": 0}
    with (folder / "train.bin").open("wb") as train, (folder / "held_out.bin").open("wb") as other:
        for batch in _batches(documents):
            sides: tuple[list[list[int]], list[list[int]]] = ([], [])
            for text, ids in zip(batch, encode(tokenizer, batch), strict=True):
                sides[split.holds_out(text)].append([*ids, end])
            for file, rows, name in zip((train, other), sides, counts, strict=True):
                tokens: NDArray[Any] = np.fromiter(chain.from_iterable(rows), dtype=dtype)
                file.write(tokens.data)
                counts[name] += tokens.size
    return counts


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    """Documents in batches of about two million characters."""
    batch: list[str] = []
    characters = 0
    for text in documents:
        batch.append(text)
        characters += len(text)
        if characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _check_size(corpus: Corpus, facts: dict[str, Any], block_size: int) -> None:
    if min(facts["train_tokens"], facts["held_out_tokens"]) < block_size:
        raise UserError(
            Problem(
                what=f"too little text: {facts['documents']:,} documents give "
                f"{facts['train_tokens']:,} tokens to train on and "
                f"{facts['held_out_tokens']:,} held out",
                where=f"dataset {corpus.name}",
                expected=f"at least one block of {block_size:,} tokens on both sides",
                fix="use more text, more and shorter documents, or a smaller block_size",
            )
        )
