"""Trains a text classifier, a small BERT from scratch or a pretrained model.

By default it predicts the genre of a Bible verse (law, history, poetry, prophecy, gospel, letters)
from its text: 31,000 verses from a pip package; 23 % of them are in the largest class.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

from trainables._optimisation import Optimisation
from trainables.data import checks
from trainables.data.corpora import CorpusOptions
from trainables.data.examples import prepare_examples
from trainables.data.hub import from_pretrained
from trainables.data.sizes import SIZES
from tune_app.training.data import Data, Log

METRICS = {"eval_accuracy": "maximize"}
"""What it reports besides `eval_loss`."""


@dataclass(frozen=True, kw_only=True)
class Config(CorpusOptions, Optimisation):
    """The parameters. Names that are also in `TrainingArguments` are passed on to it."""

    dataset: str = "en-genres"
    """`en-genres` (verses and genres from a pip package), a file, a folder, or a hub dataset."""
    label_column: str = "label"
    """Column that holds the class of each text."""
    model: str = ""
    """A checkpoint folder or a name on the hub; by default a BERT of `size` from scratch."""
    revision: str | None = None
    """Branch, tag or commit of a model of the hub."""
    size: Literal["nano", "micro", "mini", "small", "medium"] = "nano"
    """Layers, width, heads: nano 2, 64, 2; micro 4, 128, 4; mini 6, 384, 6; small 12, 768, 12;
    medium 24, 1024, 16."""
    vocab_size: int = 4096
    """Tokens of the vocabulary that is trained for a model from scratch."""
    max_length: int = 64
    """Tokens to which every text is cut or padded."""
    eval_examples: int = 1024
    """At most this many held-out examples are evaluated: the same ones for every trial."""
    dropout: float = 0.1
    """Dropout of a model from scratch, for hidden states and attention."""

    per_device_train_batch_size: int = 16

    def __post_init__(self) -> None:
        checks.raise_all(
            checks.choice("size", self.size, SIZES)
            + checks.at_least("vocab_size", self.vocab_size, 300)
            + checks.at_least("max_length", self.max_length, 8)
            + checks.at_least("eval_examples", self.eval_examples, 1)
            + checks.share("dropout", self.dropout)
        )


def prepare(config: Config, cache: Path, log: Log) -> Data:
    """Labelled examples of one length; built once in `cache`, later only opened.

    Raises:
        UserError: the corpus or the tokenizer cannot be loaded, or there are too few examples.
    """
    return prepare_examples(
        config,
        label_column=config.label_column,
        tokenizer=config.model or "bpe",
        tokenizer_revision=config.revision,
        vocab_size=config.vocab_size,
        max_length=config.max_length,
        eval_examples=config.eval_examples,
        cache=cache,
        log=log,
    )


def build(config: Config, data: Data, args: TrainingArguments) -> Trainer:
    """A trainer with a model whose initial weights depend on `args.seed` alone.

    Raises:
        UserError: the named model cannot be loaded.
    """
    set_seed(args.seed)
    return Trainer(
        model=_pretrained(config, data) if config.model else _from_scratch(config, data),
        args=args,
        train_dataset=data.train,
        eval_dataset=data.evaluation,
        processing_class=data.tokenizer,
        data_collator=default_data_collator,
        compute_metrics=accuracy,
    )


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    """The fraction of examples whose class is predicted correctly."""
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


def _from_scratch(config: Config, data: Data) -> PreTrainedModel:
    size = SIZES[config.size]
    assert data.tokenizer is not None
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=data.facts["vocab_size"],
            hidden_size=size.width,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=4 * size.width,
            max_position_embeddings=config.max_length,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
            bos_token_id=data.tokenizer.bos_token_id,
            eos_token_id=data.tokenizer.eos_token_id,
            **_classes(data),
        )
    )


def _pretrained(config: Config, data: Data) -> PreTrainedModel:
    model: PreTrainedModel = from_pretrained(
        AutoModelForSequenceClassification.from_pretrained,
        config.model,
        config.revision,
        "model",
        "config.json",
        use_safetensors=True,
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        **_classes(data),
    )
    return model


def _classes(data: Data) -> dict[str, Any]:
    tokenizer: PreTrainedTokenizerBase | None = data.tokenizer
    assert tokenizer is not None
    labels: list[str] = data.facts["labels"]
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
