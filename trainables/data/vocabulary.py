"""Tokenizers: a byte-level BPE trained on the corpus, or a pretrained one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from trainables.data.hub import from_pretrained
from trainables.data.store import key_of
from tune_app.errors import Problem, UserError

END_OF_TEXT = "<|endoftext|>"
CHARACTERS_PER_TOKEN = 1000
"""Characters of training text for each token of the vocabulary; of more, every n-th document.

With 7 million characters and 4,096 tokens that halves the time and costs 0.1 % more tokens.
"""
_FILE = "tokenizer.json"


def train_bpe(folder: Path, documents: Iterable[str], characters: int, vocab_size: int) -> int:
    """Trains a vocabulary of at most `vocab_size` tokens, writes it, returns its size.

    `characters` is the length of all documents together.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    every = max(1, round(characters / (CHARACTERS_PER_TOKEN * vocab_size)))
    sample = islice(documents, 0, None, every)
    # Batches are tokenized on all cores, single documents are not.
    tokenizer.train_from_iterator(iter(lambda: list(islice(sample, 1000)), []), trainer)
    tokenizer.save(str(folder / _FILE))
    size: int = tokenizer.get_vocab_size()
    return size


def load_bpe(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of `train_bpe`; one token serves as begin, end and padding."""
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / _FILE),
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
    )


def load_pretrained(name: str, revision: str | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer from a folder or the hub, with an end-of-text token and a padding token.

    Raises:
        UserError: it cannot be loaded, is not a fast one, or has no end-of-text token.
    """
    where, needs = "tokenizer", _FILE if Path(name, _FILE).exists() else "tokenizer_config.json"
    tokenizer = from_pretrained(AutoTokenizer.from_pretrained, name, revision, where, needs)
    if not tokenizer.is_fast:
        raise UserError(Problem("is not a fast tokenizer (no tokenizer.json)", f"{where} {name}"))
    end = end_of(tokenizer)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(end)
    return tokenizer


def end_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id of the token between two documents.

    Raises:
        UserError: the tokenizer has none.
    """
    for name in ("eos_token_id", "sep_token_id"):
        number = getattr(tokenizer, name)
        if number is not None:
            return int(number)
    raise UserError(
        Problem("has no token that ends a text (eos or sep)", f"tokenizer {tokenizer.name_or_path}")
    )


def identity_of(tokenizer: PreTrainedTokenizerFast) -> str:
    """A key of a tokenizer's contents, independent of its source."""
    special = sorted((name, str(token)) for name, token in tokenizer.special_tokens_map.items())
    return key_of(tokenizer.backend_tokenizer.to_str(), special)


def encode(tokenizer: PreTrainedTokenizerFast, documents: list[str]) -> Iterator[list[int]]:
    """Token ids of documents, not truncated and without special tokens.

    A special token spelled out inside a document is plain text.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    before = backend.encode_special_tokens
    backend.encode_special_tokens = True
    try:
        encoded = backend.encode_batch_fast(documents, add_special_tokens=False)
    finally:
        backend.encode_special_tokens = before
    return (one.ids for one in encoded)
