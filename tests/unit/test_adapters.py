"""Trials that train adapters on a frozen model (PEFT): paused, promoted and checked as others."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
)

from tests.support.segments import Recorder, corpus, last_checkpoint, losses, run, task
from tune_app.core.task import Task
from tune_app.errors import UserError
from tune_app.training import weights

__all__ = ["corpus", "task"]


def adapted(task: Task, folder: Path, **options: Any) -> Task:
    """The task with LoRA on the attention of a GPT-2 whose own weights stay as they are."""
    path = folder / "lora.py"
    path.write_text(
        textwrap.dedent(f"""
            from peft import LoraConfig, get_peft_model
            from transformers import set_seed
            from trainables import causal_lm
            from trainables.causal_lm import Config, SIZES, prepare, sample
            def build(config, data, args):
                set_seed(args.seed)
                model = causal_lm.gpt2(config, SIZES[config.size], data.tokenizer)
                options = {{"target_modules": ["c_attn"], "lora_dropout": 0.1, **{options!r}}}
                lora = LoraConfig(r=4, task_type="CAUSAL_LM", fan_in_fan_out=True, **options)
                return causal_lm.trainer_for(get_peft_model(model, lora), data, args)
        """)
    )
    return replace(task, trainable=str(path))


@pytest.mark.parametrize(
    "options",
    [{}, {"modules_to_save": ["lm_head"]}, {"modules_to_save": ["wte"]}, {"use_dora": True}],
    ids=lambda options: next(iter(options), "lora"),
)
def test_adapters_go_on_bit_exactly(task: Task, tmp_path: Path, options: dict[str, Any]) -> None:
    task = adapted(task, tmp_path, **options)
    whole = run(task, Recorder(tmp_path / "whole"))
    assert whole.of("trial_ended")["outcome"] == "completed", whole.of("trial_ended")
    assert whole.reports()[-1]["metrics"]["eval_loss"] < whole.reports()[0]["metrics"]["train_loss"]
    parts = [run(task, Recorder(tmp_path / "parts", pause_at=(0,)))]
    for _ in range(2):
        checkpoint = last_checkpoint(parts[-1], tmp_path / "parts")
        parts.append(run(task, Recorder(tmp_path / "parts", pause_at=(1,)), checkpoint))
    assert losses(parts) == losses([whole])


def test_adapters_of_a_trial_that_died_after_its_last_step_are_loaded(
    task: Task, tmp_path: Path
) -> None:
    task = adapted(task, tmp_path)
    task = replace(task, prompt="люди")
    whole = run(task, Recorder(tmp_path))
    checkpoint = last_checkpoint(whole, tmp_path)
    again = run(task, Recorder(tmp_path), checkpoint)
    assert [event for event, _ in again.sent] == ["sample", "trial_ended"]
    assert again.of("trial_ended")["outcome"] == "completed", again.of("trial_ended")
    assert again.of("sample") == whole.of("sample")


@pytest.mark.parametrize("options", [{}, {"modules_to_save": ["wte"]}])
def test_what_an_adapted_model_computes_in_is_seen(
    task: Task, tmp_path: Path, options: dict[str, Any]
) -> None:
    task = adapted(task, tmp_path, **options)
    short = replace(task, rungs=(1.0,), budget=replace(task.budget, amount=512))
    params = {**task.params, "bf16": True, "optim": "adamw_torch_fused"}
    recorder = run(replace(short, params=params), Recorder(tmp_path))
    assert recorder.of("trial_ended")["outcome"] == "completed", recorder.of("trial_ended")
    assert recorder.of("trial_effective")["effective"]["autocast"] == "bfloat16"


def test_adapters_that_take_over_go_on_with_their_own_learning_rate(
    task: Task, tmp_path: Path
) -> None:
    task = adapted(task, tmp_path)
    first = run(task, Recorder(tmp_path / "source", pause_at=(1,)))
    changed = replace(
        task,
        params={**task.params, "learning_rate": 4e-3},
        has_new_values=True,
        max_steps=27,
    )
    other = run(changed, Recorder(tmp_path / "other"), last_checkpoint(first, tmp_path / "source"))
    assert other.of("trial_ended")["outcome"] == "completed", other.of("trial_ended")
    effective = other.of("trial_effective")["effective"]["learning_rate"]
    assert max(effective) == pytest.approx(4e-3, rel=0.01)


def gpt2(**options: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "n_positions": 8, "n_embd": 8, "n_layer": 2, "n_head": 2}
    return GPT2LMHeadModel(GPT2Config(**sizes | options))


def bert() -> PreTrainedModel:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=40,
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
        )
    )


ADAPTERS: dict[str, tuple[Any, PeftConfig]] = {
    "lora": (gpt2, LoraConfig(target_modules=["c_attn"])),
    "lora of all linear layers": (bert, LoraConfig(target_modules="all-linear")),
    "lora of embeddings": (gpt2, LoraConfig(target_modules=["wte", "c_attn"])),
    "lora with a head": (bert, LoraConfig(task_type="SEQ_CLS", target_modules=["query"])),
    "lora with biases": (bert, LoraConfig(target_modules=["query"], bias="lora_only")),
    "lora of some tokens": (
        gpt2,
        LoraConfig(target_modules=["c_attn"], trainable_token_indices=[1, 2]),
    ),
    "ia3": (bert, IA3Config(task_type="SEQ_CLS", target_modules=["key"], feedforward_modules=[])),
    "prompt": (gpt2, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)),
}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_checkpoint_of_adapters_has_their_weights_and_no_others(
    kind: str, tmp_path: Path
) -> None:
    make, config = ADAPTERS[kind]
    model = get_peft_model(make(), config)
    model.save_pretrained(str(tmp_path))
    weights.check(model, tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    saved = load_file(path)
    first, *others = sorted(saved)
    for changed in (
        {name: saved[name] for name in others},
        saved | {"more": torch.zeros(3)},
        {name: saved[name] for name in others} | {"renamed": saved[first]},
    ):
        save_file(changed, path, {"format": "pt"})
        with pytest.raises(UserError) as refused:
            weights.check(model, tmp_path)
        assert first in str(refused.value) or "more" in str(refused.value)
    save_file(saved, path, {"format": "pt"})
    with pytest.raises(UserError, match="no weights called"):
        weights.check(make(), tmp_path)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("get_peft_model(model, lora, 'poet')", "adapters called 'poet'"),
        ("(model.add_adapter(lora), model)[1]", "no peft.PeftModel"),
    ],
    ids=["with a name", "of transformers"],
)
def test_adapters_that_no_checkpoint_brings_back_are_refused_before_the_first_step(
    task: Task, tmp_path: Path, made: str, told: str
) -> None:
    task = adapted(task, tmp_path)
    path = Path(task.trainable)
    path.write_text(path.read_text().replace("get_peft_model(model, lora)", made))
    recorder = run(task, Recorder(tmp_path))
    assert [event for event, _ in recorder.sent] == ["trial_ended"]
    assert told in recorder.of("trial_ended")["reason"]


def test_adapters_do_not_go_on_from_a_whole_model(tmp_path: Path) -> None:
    gpt2().save_pretrained(tmp_path)
    model = get_peft_model(gpt2(), LoraConfig(target_modules=["c_attn"]))
    with pytest.raises(UserError, match="no weights for"):
        weights.check(model, tmp_path)


def ignoring() -> PreTrainedModel:
    """A model that does not save the weights of its head."""
    model = bert()
    model._keys_to_ignore_on_save = {"classifier.weight", "classifier.bias"}
    return model


@pytest.mark.parametrize("make", [gpt2, bert, ignoring])
@pytest.mark.parametrize("shard", ["1KB", "5GB"])
def test_a_whole_model_is_known_in_one_file_or_several(
    make: Any, shard: str, tmp_path: Path
) -> None:
    """With weights that are tied to one another, or that are never saved."""
    make().save_pretrained(tmp_path, max_shard_size=shard)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1 or shard == "1KB"
    weights.check(make(), tmp_path)
    with pytest.raises(UserError, match="no weights for"):
        weights.check(gpt2(n_layer=3) if make is gpt2 else gpt2(), tmp_path)


def test_the_state_of_a_model_that_is_not_of_transformers_is_known(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    weights.check(model, tmp_path)
    with pytest.raises(UserError, match="no weights for"):
        weights.check(nn.Sequential(*model, nn.Linear(3, 3)), tmp_path)
