"""Trains a pretrained language model further on packed blocks of text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, Trainer, TrainingArguments, set_seed

from trainables._optimisation import Optimisation
from trainables.causal_lm import METRICS, sample, trainer_for
from trainables.data import checks
from trainables.data.blocks import prepare_blocks
from trainables.data.corpora import CorpusOptions
from trainables.data.hub import from_pretrained
from tune_app.errors import Problem, UserError
from tune_app.training.data import Data, Log

__all__ = ["METRICS", "Config", "build", "prepare", "sample"]


@dataclass(frozen=True, kw_only=True)
class Config(CorpusOptions, Optimisation):
    """The parameters. Names that are also in `TrainingArguments` are passed on to it."""

    model: str = ""
    """A checkpoint folder or a name on the hub, with weights in safetensors. Must be given."""
    revision: str | None = None
    """Branch, tag or commit of a model of the hub."""
    block_size: int = 128
    """Tokens in one training example."""
    eval_tokens: int = 32_768
    """At most this many held-out tokens are evaluated: the same ones for every trial."""

    learning_rate: float = 5e-5

    def __post_init__(self) -> None:
        missing = Problem(
            what="no model is named",
            where="model",
            expected="a checkpoint folder or a name on the hub, such as gpt2",
        )
        checks.raise_all(
            ([] if self.model else [missing])
            + checks.at_least("block_size", self.block_size, 8)
            + checks.at_least("eval_tokens", self.eval_tokens, 1)
        )


def prepare(config: Config, cache: Path, log: Log) -> Data:
    """Packed blocks of the corpus in the model's own tokens; built once, later only opened.

    Raises:
        UserError: the corpus or the tokenizer cannot be loaded, or there is too little text.
    """
    return prepare_blocks(
        config,
        tokenizer=config.model,
        tokenizer_revision=config.revision,
        vocab_size=0,
        block_size=config.block_size,
        eval_tokens=config.eval_tokens,
        cache=cache,
        log=log,
    )


def build(config: Config, data: Data, args: TrainingArguments) -> Trainer:
    """A trainer around the pretrained model, its weights in float32.

    Raises:
        UserError: the model cannot be loaded, or does not take blocks of this length.
    """
    set_seed(args.seed)
    model: PreTrainedModel = from_pretrained(
        AutoModelForCausalLM.from_pretrained,
        config.model,
        config.revision,
        "model",
        "config.json",
        use_safetensors=True,
        dtype=torch.float32,
    )
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and config.block_size > longest:
        raise UserError(
            Problem(
                what=f"{config.block_size:,} tokens are more than the model takes",
                where="block_size",
                expected=f"at most {longest:,}",
            )
        )
    model.config.use_cache = False
    return trainer_for(model, data, args)
