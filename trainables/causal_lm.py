"""Pretrains a small GPT-2 or Llama from scratch on packed blocks of text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

from trainables._optimisation import Optimisation
from trainables.data import checks
from trainables.data.blocks import prepare_blocks
from trainables.data.corpora import CorpusOptions
from trainables.data.sizes import SIZES, Size
from trainables.data.vocabulary import end_of
from tune_app.training.data import Data, Log

METRICS: dict[str, str] = {}
"""What it reports besides `eval_loss`: nothing."""


@dataclass(frozen=True, kw_only=True)
class Config(CorpusOptions, Optimisation):
    """The parameters. Names that are also in `TrainingArguments` are passed on to it."""

    architecture: Literal["gpt2", "llama"] = "gpt2"
    size: Literal["nano", "micro", "mini", "small", "medium"] = "nano"
    """Layers, width, heads: nano 2, 64, 2; micro 4, 128, 4; mini 6, 384, 6; small 12, 768, 12;
    medium 24, 1024, 16."""
    block_size: int = 128
    """Tokens in one training example."""
    tokenizer: str = "bpe"
    """`bpe` trains a byte-level BPE on the training text; otherwise a folder or hub name."""
    vocab_size: int = 4096
    """Tokens of the vocabulary that `bpe` learns."""
    eval_tokens: int = 32_768
    """At most this many held-out tokens are evaluated: the same ones for every trial."""
    dropout: float = 0.0
    """Dropout of residuals, embeddings and attention; of attention only in Llama."""

    def __post_init__(self) -> None:
        checks.raise_all(
            checks.choice("architecture", self.architecture, ARCHITECTURES)
            + checks.choice("size", self.size, SIZES)
            + checks.at_least("block_size", self.block_size, 8)
            + checks.at_least("vocab_size", self.vocab_size, 300)
            + checks.at_least("eval_tokens", self.eval_tokens, 1)
            + checks.share("dropout", self.dropout)
        )


def prepare(config: Config, cache: Path, log: Log) -> Data:
    """Packed blocks of the corpus; built once in `cache`, later only opened.

    Raises:
        UserError: the corpus or the tokenizer cannot be loaded, or there is too little text.
    """
    return prepare_blocks(
        config,
        tokenizer=config.tokenizer,
        vocab_size=config.vocab_size,
        block_size=config.block_size,
        eval_tokens=config.eval_tokens,
        cache=cache,
        log=log,
    )


def build(config: Config, data: Data, args: TrainingArguments) -> Trainer:
    """A trainer with a fresh model, whose initial weights depend on `args.seed` alone."""
    set_seed(args.seed)
    assert data.tokenizer is not None
    make = ARCHITECTURES[config.architecture]
    return trainer_for(make(config, SIZES[config.size], data.tokenizer), data, args)


def parameters(config: Config) -> int:
    """Weights without embeddings: per layer 4 width² in attention, 8 width² in the MLP."""
    size = SIZES[config.size]
    return 12 * size.layers * size.width**2


def gpt2(config: Config, size: Size, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """GPT-2 with learned positions; input and output embeddings are one matrix."""
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=config.block_size,
            n_embd=size.width,
            n_layer=size.layers,
            n_head=size.heads,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            attn_pdrop=config.dropout,
            use_cache=False,
            **_special_tokens(tokenizer),
        )
    )
    # Explicit, as transformers would infer the same loss for GPT-2, but with a warning.
    model.loss_type = "ForCausalLM"
    return model


def llama(config: Config, size: Size, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Llama with tied embeddings, so that a size means about the same as with GPT-2."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=config.block_size,
            hidden_size=size.width,
            # Three matrices of 8/3 the width weigh as much as GPT-2's two of four times the width.
            intermediate_size=round(size.width * 8 / 3 / 32) * 32,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            attention_dropout=config.dropout,
            tie_word_embeddings=True,
            use_cache=False,
            **_special_tokens(tokenizer),
        )
    )


ARCHITECTURES = {"gpt2": gpt2, "llama": llama}


def trainer_for(model: PreTrainedModel, data: Data, args: TrainingArguments) -> Trainer:
    """The stock trainer around a language model."""
    return Trainer(
        model=model,
        args=args,
        train_dataset=data.train,
        eval_dataset=data.evaluation,
        processing_class=data.tokenizer,
        data_collator=default_data_collator,
    )


def sample(trainer: Trainer, data: Data, prompt: str, new_tokens: int = 40) -> str:
    """The prompt and the model's sampled continuation, with a fixed seed.

    The RNG state of training and the mode of the model are restored.
    """
    assert data.tokenizer is not None
    # A compiled model would be compiled again for every length.
    model = getattr(trainer.model, "_orig_mod", trainer.model)
    start, positions = end_of(data.tokenizer), data.tokens_per_sample
    new_tokens = min(new_tokens, positions // 2)
    known = data.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    known = [start, *known[-(positions - new_tokens - 1) :]]
    given = torch.tensor([known], device=model.device)
    training = model.training
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(0)
        model.eval()
        try:
            drawn = model.generate(
                given,
                attention_mask=torch.ones_like(given),
                do_sample=True,
                temperature=0.8,
                top_k=40,
                # A text that ends immediately would show nothing.
                min_new_tokens=new_tokens // 2,
                max_new_tokens=new_tokens,
                use_cache=True,
                pad_token_id=data.tokenizer.pad_token_id,
            )
        finally:
            model.train(training)
    seen, full = (data.tokenizer.decode(ids, skip_special_tokens=True) for ids in (known, drawn[0]))
    # The last token may end within a character.
    continuation: str = full[len(seen) :].rstrip("\N{REPLACEMENT CHARACTER}")
    return prompt + continuation


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    end = end_of(tokenizer)
    begin = end if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    return {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": tokenizer.pad_token_id}
