"""Labelled texts of one padded length, for classifiers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers.processors import TemplateProcessing
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from trainables.data.blocks import settle_split, trained_tokenizer
from trainables.data.corpora import Corpus, CorpusOptions, check_column, column_of, empty
from trainables.data.sources import open_corpus
from trainables.data.split import RULE, Split
from trainables.data.store import ensure, key_of
from trainables.data.vocabulary import END_OF_TEXT, identity_of, load_pretrained
from tune_app.errors import Problem, UserError
from tune_app.training.data import Data, Log


class Examples(Dataset[dict[str, torch.Tensor]]):
    """Rows of memory-mapped token ids with their lengths and labels."""

    def __init__(self, folder: Path, side: str, limit: int | None = None) -> None:
        self._arguments = (folder, side, limit)
        self._ids = np.load(folder / f"{side}_ids.npy", mmap_mode="r")[:limit]
        self._lengths = np.load(folder / f"{side}_lengths.npy", mmap_mode="r")
        self._labels = np.load(folder / f"{side}_labels.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = torch.from_numpy(self._ids[index].astype(np.int64))
        mask = torch.arange(len(ids)) < int(self._lengths[index])
        label = torch.tensor(int(self._labels[index]))
        return {"input_ids": ids, "attention_mask": mask.long(), "labels": label}

    def __reduce__(self) -> tuple[type[Examples], tuple[Path, str, int | None]]:
        return Examples, self._arguments


def prepare_examples(
    options: CorpusOptions,
    *,
    label_column: str,
    tokenizer: str,
    tokenizer_revision: str | None = None,
    vocab_size: int,
    max_length: int,
    eval_examples: int,
    cache: Path,
    log: Log,
) -> Data:
    """Training and held-out examples of a corpus with labels; built once, later only opened.

    Args:
        tokenizer: `bpe` to train one of `vocab_size` tokens, or a folder or a name on the hub.
        max_length: tokens to which every text is cut or padded.
        eval_examples: at most this many held-out examples are evaluated.

    Raises:
        UserError: the corpus or the tokenizer cannot be loaded, or there are too few examples.
    """
    corpus = open_corpus(options, cache, log)
    split = settle_split(corpus, options.text_column, cache, log)
    if tokenizer == "bpe":
        words = trained_tokenizer(corpus, options.text_column, split, vocab_size, cache, log)
        _put_token_in_front(words)
    else:
        words = load_pretrained(tokenizer, tokenizer_revision)

    folder, facts = _arrays(corpus, options, label_column, split, words, max_length, cache, log)
    evaluated = min(eval_examples, facts["held_out_examples"])
    return Data(
        train=Examples(folder, "train"),
        evaluation=Examples(folder, "held_out", evaluated),
        tokens_per_sample=max_length,
        tokenizer=words,
        facts={**facts, "eval_examples": evaluated, "cache": folder.name},
    )


def _arrays(
    corpus: Corpus,
    options: CorpusOptions,
    label_column: str,
    split: Split,
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    cache: Path,
    log: Log,
) -> tuple[Path, dict[str, Any]]:
    """The folder with the arrays of both sides, and facts about them."""

    def make(folder: Path) -> dict[str, Any]:
        rows = _rows(corpus, options.text_column, label_column)
        facts = _write(folder, corpus, rows, split, tokenizer, max_length)
        size = f"{facts['train_examples']:,} examples of {len(facts['labels'])} classes"
        log(f"{corpus.name}: {size} to train on")
        return facts

    columns = [options.text_column, label_column]
    key = key_of(corpus.fingerprint, columns, RULE, identity_of(tokenizer), max_length)
    folder = cache / "examples" / key
    return folder, ensure(folder, make, log, needed_bytes=4 * split.documents * max_length)


def _put_token_in_front(tokenizer: PreTrainedTokenizerFast) -> None:
    """Adds a fixed first token, as the classifier reads the state of the first token."""
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{END_OF_TEXT} $A", special_tokens=[(END_OF_TEXT, tokenizer.bos_token_id)]
    )


def _rows(corpus: Corpus, text_column: str | None, label_column: str) -> Iterator[tuple[str, str]]:
    """Texts with their labels; rows that lack either are left out."""
    first = next(iter(corpus.batches([])), None)
    if first is None:
        raise UserError(empty(corpus))
    check_column(corpus, first, "label_column", label_column)
    column = column_of(corpus, text_column)
    for batch in corpus.batches([column, label_column]):
        for text, label in zip(batch[column], batch[label_column], strict=True):
            if text and text.strip() and label is not None:
                yield text.strip(), str(label)


def _write(
    folder: Path,
    corpus: Corpus,
    rows: Iterator[tuple[str, str]],
    split: Split,
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
) -> dict[str, Any]:
    """Writes the arrays of both sides; returns facts about them."""
    sides: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for text, label in rows:
        sides[split.holds_out(text)].append((text, label))
    names = sorted({label for _, label in sides[0]})
    held_out = [row for row in sides[1] if row[1] in names]
    if len(names) < 2 or not held_out:
        raise UserError(_too_little(corpus, names, len(held_out)))
    _save(folder, "train", sides[0], names, tokenizer, max_length)
    # Shuffled, so that the first held-out examples are a random sample of all.
    mixed = np.random.default_rng(0).permutation(len(held_out))
    _save(folder, "held_out", [held_out[i] for i in mixed], names, tokenizer, max_length)
    return {
        "corpus": corpus.name,
        "documents": split.documents,
        "characters": split.characters,
        "train_examples": len(sides[0]),
        "held_out_examples": len(held_out),
        "labels": names,
        "vocab_size": len(tokenizer),
        "fingerprint": corpus.fingerprint,
    }


def _too_little(corpus: Corpus, names: list[str], held_out: int) -> Problem:
    return Problem(
        what=f"too little to learn from: {len(names)} classes, {held_out:,} held-out examples",
        where=f"dataset {corpus.name}",
        expected="at least two classes and one held-out example of them",
    )


def _save(
    folder: Path,
    side: str,
    rows: list[tuple[str, str]],
    names: list[str],
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
) -> None:
    number = {name: index for index, name in enumerate(names)}
    dtype = np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32
    ids = np.full((len(rows), max_length), tokenizer.pad_token_id, dtype=dtype)
    lengths = np.zeros(len(rows), dtype=np.int32)
    encoded = tokenizer([text for text, _ in rows], truncation=True, max_length=max_length)
    for index, row in enumerate(encoded["input_ids"]):
        ids[index, : len(row)] = row
        lengths[index] = len(row)
    labels = np.array([number[label] for _, label in rows], dtype=np.int32)
    for name, array in (("ids", ids), ("lengths", lengths), ("labels", labels)):
        np.save(folder / f"{side}_{name}.npy", array, allow_pickle=False)
