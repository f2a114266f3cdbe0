"""Trainables: their options, their models, and a few real steps of each on the processor."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Trainer, TrainingArguments

from trainables import causal_lm, continue_causal_lm, sequence_classification
from trainables.data.sizes import SIZES
from tune_app import plugins
from tune_app.errors import UserError
from tune_app.training.data import Data
from tune_app.training.reporter import TIMINGS
from tune_app.training.trainable import load

LM: dict[str, Any] = {"block_size": 16, "vocab_size": 400, "eval_tokens": 64}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "a.jsonl"
    words = ["snow", "river", "stone", "light", "seven", "yellow", "birds", "дом", "лес"]
    with path.open("w", encoding="utf-8") as file:
        for i in range(600):
            text = " ".join(words[(i * 5 + j * (i % 7 + 1)) % len(words)] for j in range(10))
            file.write(json.dumps({"text": f"{text} {i}", "label": i % 3}) + "\n")
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def arguments(folder: Path, **given: Any) -> TrainingArguments:
    options: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": 2,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_strategy": "no",
        "seed": 7,
    }
    return TrainingArguments(**options | given)


def started(
    module: ModuleType, config: Any, cache: Path, folder: Path, **given: Any
) -> tuple[Trainer, Data]:
    data = module.prepare(config, cache, print)
    return module.build(config, data, arguments(folder, **given)), data


def weights(trainer: Trainer) -> torch.Tensor:
    assert trainer.model is not None
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def error_of(call: Callable[[], object]) -> UserError:
    with pytest.raises(UserError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_language_model_takes_real_steps(
    architecture: str, corpus: Path, cache: Path, tmp_path: Path
) -> None:
    config = causal_lm.Config(dataset=str(corpus), architecture=architecture, **LM)  # type: ignore[arg-type]
    trainer, data = started(causal_lm, config, cache, tmp_path, learning_rate=1e-2)
    before, first = weights(trainer), trainer.evaluate()["eval_loss"]
    trainer.train()
    assert not torch.equal(weights(trainer), before)
    assert abs(first - np.log(data.facts["vocab_size"])) < 0.5
    assert trainer.evaluate()["eval_loss"] < first


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_the_loss_is_the_mean_over_predicted_tokens(
    architecture: str, corpus: Path, cache: Path, tmp_path: Path
) -> None:
    config = causal_lm.Config(dataset=str(corpus), architecture=architecture, **LM)  # type: ignore[arg-type]
    trainer, data = started(causal_lm, config, cache, tmp_path)
    assert trainer.model is not None
    blocks: Any = data.evaluation
    ids = torch.stack([blocks[index]["input_ids"] for index in range(len(blocks))])
    with torch.no_grad():
        logits = trainer.model.eval()(input_ids=ids).logits[:, :-1]
    mean = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    assert trainer.evaluate()["eval_loss"] == pytest.approx(mean.item(), rel=1e-4)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_first_weights_follow_from_the_seed_alone(
    architecture: str, corpus: Path, cache: Path, tmp_path: Path
) -> None:
    config = causal_lm.Config(dataset=str(corpus), architecture=architecture, **LM)  # type: ignore[arg-type]
    one, _ = started(causal_lm, config, cache, tmp_path)
    torch.rand(100)
    random.random()
    two, _ = started(causal_lm, config, cache, tmp_path)
    other, _ = started(causal_lm, config, cache, tmp_path, seed=8)
    assert torch.equal(weights(one), weights(two))
    assert not torch.equal(weights(one), weights(other))


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("size", list(SIZES))
def test_every_size_has_its_shape_and_tied_embeddings(
    architecture: str, size: str, corpus: Path, cache: Path
) -> None:
    config = causal_lm.Config(dataset=str(corpus), architecture=architecture, size=size, **LM)  # type: ignore[arg-type]
    data = causal_lm.prepare(config, cache, print)
    assert data.tokenizer is not None
    with torch.device("meta"):
        model = causal_lm.ARCHITECTURES[architecture](config, SIZES[size], data.tokenizer)
    width, layers = SIZES[size].width, SIZES[size].layers
    inside = 12 * layers * width**2
    assert model.config.hidden_size == width
    assert model.config.num_hidden_layers == layers
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.num_parameters() == pytest.approx(
        inside + data.facts["vocab_size"] * width, rel=0.12
    )
    assert model.config.eos_token_id == model.config.pad_token_id == data.tokenizer.eos_token_id


def test_a_sample_leaves_random_numbers_and_model_as_they_were(
    corpus: Path, cache: Path, tmp_path: Path
) -> None:
    config = causal_lm.Config(dataset=str(corpus), dropout=0.5, **LM)
    trainer, data = started(causal_lm, config, cache, tmp_path)
    assert trainer.model is not None
    trainer.model.train()
    torch.manual_seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    one = causal_lm.sample(trainer, data, "snow river")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]
    assert random.getstate() == before[2]
    assert trainer.model.training
    assert one == causal_lm.sample(trainer, data, "snow river")
    assert one.startswith("snow river")
    assert len(one) > len("snow river")


@pytest.mark.parametrize("prompt", ["", "дом", "snow " * 200])
def test_a_prompt_of_any_length_is_continued(
    prompt: str, corpus: Path, cache: Path, tmp_path: Path
) -> None:
    config = causal_lm.Config(dataset=str(corpus), architecture="llama", **LM)
    trainer, data = started(causal_lm, config, cache, tmp_path)
    said = causal_lm.sample(trainer, data, prompt)
    assert said.startswith(prompt)
    assert len(said) > len(prompt)


def test_a_compiled_model_is_sampled_uncompiled(corpus: Path, cache: Path, tmp_path: Path) -> None:
    config = causal_lm.Config(dataset=str(corpus), **LM)
    trainer, data = started(causal_lm, config, cache, tmp_path)
    plain = causal_lm.sample(trainer, data, "snow")
    assert trainer.model is not None

    def refuses(*_: object) -> Callable[..., object]:
        raise AssertionError("compiled code was run")

    trainer.model = torch.compile(trainer.model, backend=refuses)
    assert causal_lm.sample(trainer, data, "snow") == plain


def test_all_wrong_options_are_told_at_once() -> None:
    wrong: dict[str, Any] = {
        "architecture": "gpt",
        "size": "nanno",
        "block_size": 4,
        "vocab_size": 100,
        "dropout": 1.0,
        "eval_tokens": 0,
    }
    error = error_of(lambda: causal_lm.Config(**wrong))
    assert {problem.where for problem in error.problems} == set(wrong)
    assert "did you mean 'gpt2'?" in str(error)
    assert "did you mean 'nano'?" in str(error)


def test_training_goes_on_from_a_checkpoint_folder(
    corpus: Path, cache: Path, tmp_path: Path
) -> None:
    scratch = causal_lm.Config(dataset=str(corpus), **LM)
    trainer, data = started(causal_lm, scratch, cache, tmp_path, max_steps=5, learning_rate=1e-2)
    trainer.train()
    trainer.save_model(str(tmp_path / "checkpoint"))
    config = continue_causal_lm.Config(
        dataset=str(corpus), model=str(tmp_path / "checkpoint"), block_size=16, eval_tokens=64
    )
    again, same = started(continue_causal_lm, config, cache, tmp_path / "again")
    assert torch.equal(weights(again), weights(trainer))
    assert same.facts["train_tokens"] == data.facts["train_tokens"]
    assert again.evaluate()["eval_loss"] == pytest.approx(trainer.evaluate()["eval_loss"])
    again.train()
    assert not torch.equal(weights(again), weights(trainer))
    assert continue_causal_lm.sample(again, same, "snow").startswith("snow")


def test_a_block_longer_than_the_model_takes_is_told(
    corpus: Path, cache: Path, tmp_path: Path
) -> None:
    scratch = causal_lm.Config(dataset=str(corpus), **LM)
    trainer, _ = started(causal_lm, scratch, cache, tmp_path)
    trainer.save_model(str(tmp_path / "checkpoint"))
    config = continue_causal_lm.Config(
        dataset=str(corpus), model=str(tmp_path / "checkpoint"), block_size=32
    )
    error = error_of(lambda: started(continue_causal_lm, config, cache, tmp_path))
    assert "at most 16" in str(error)


def test_weights_that_are_not_safetensors_are_refused(
    corpus: Path, cache: Path, tmp_path: Path
) -> None:
    scratch = causal_lm.Config(dataset=str(corpus), **LM)
    trainer, _ = started(causal_lm, scratch, cache, tmp_path)
    folder = tmp_path / "checkpoint"
    trainer.save_model(str(folder))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    config = continue_causal_lm.Config(dataset=str(corpus), model=str(folder), block_size=16)
    error = error_of(lambda: started(continue_causal_lm, config, cache, tmp_path))
    assert "model.safetensors" in str(error)


def test_a_model_must_be_named_and_be_there(corpus: Path, cache: Path, tmp_path: Path) -> None:
    assert "no model is named" in str(error_of(continue_causal_lm.Config))
    missing = continue_causal_lm.Config(dataset=str(corpus), model=str(tmp_path / "none"))
    error = error_of(lambda: continue_causal_lm.prepare(missing, cache, print))
    assert "no such file or folder" in str(error)


def test_a_classifier_from_scratch_takes_real_steps(
    corpus: Path, cache: Path, tmp_path: Path
) -> None:
    config = sequence_classification.Config(dataset=str(corpus), vocab_size=400, max_length=24)
    trainer, data = started(sequence_classification, config, cache, tmp_path, eval_strategy="no")
    before = weights(trainer)
    trainer.train()
    assert not torch.equal(weights(trainer), before)
    assert data.facts["labels"] == ["0", "1", "2"]
    assert 0 <= trainer.evaluate()["eval_accuracy"] <= 1


def test_a_classifier_starts_from_a_pretrained_model(
    corpus: Path, cache: Path, tmp_path: Path
) -> None:
    config = sequence_classification.Config(dataset=str(corpus), vocab_size=400, max_length=24)
    trainer, _ = started(sequence_classification, config, cache, tmp_path)
    trainer.save_model(str(tmp_path / "checkpoint"))
    tuned = sequence_classification.Config(
        dataset=str(corpus), model=str(tmp_path / "checkpoint"), max_length=24
    )
    again, _ = started(sequence_classification, tuned, cache, tmp_path / "again")
    assert torch.equal(weights(again), weights(trainer))
    again.train()


def test_the_default_task_of_the_classifier_needs_no_download(tmp_path: Path) -> None:
    data = sequence_classification.prepare(sequence_classification.Config(), tmp_path, print)
    assert data.facts["labels"] == ["gospel", "history", "law", "letters", "poetry", "prophecy"]
    assert data.facts["train_examples"] > 25_000
    assert len(data.evaluation) == 1024  # type: ignore[arg-type]


@pytest.mark.parametrize("name", plugins.names("trainable"))
def test_a_trainable_declares_just_what_it_reports(
    name: str, corpus: Path, cache: Path, tmp_path: Path
) -> None:
    module = load(name).module
    options: dict[str, Any] = {"vocab_size": 400}
    if name == "continue_causal_lm":
        first, _ = started(causal_lm, causal_lm.Config(dataset=str(corpus), **LM), cache, tmp_path)
        first.save_model(str(tmp_path / "checkpoint"))
        options = {"model": str(tmp_path / "checkpoint"), "block_size": 16}
    config = module.Config(dataset=str(corpus), **options)
    trainer, _ = started(module, config, cache, tmp_path)
    reported = {key for key in trainer.evaluate() if not key.endswith(TIMINGS)}
    assert reported - {"epoch"} == {"eval_loss", *module.METRICS}


@pytest.mark.parametrize(
    "wrong", ["['eval_f1']", "{'f1': 'maximize'}", "{'eval_f1': 'max'}", "{1: 'maximize'}"]
)
def test_what_a_trainable_reports_is_declared_with_goals(wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    own = "from trainables.causal_lm import Config, build, prepare\n"
    path.write_text(f"{own}METRICS = {wrong}\n")
    assert "names that begin with eval_" in str(error_of(lambda: load(str(path))))
    (tmp_path / "other.py").write_text(own)
    assert load(str(tmp_path / "other.py")).metrics is None


def test_accuracy_is_the_part_of_hits() -> None:
    from transformers import EvalPrediction

    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    labels = np.array([1, 0, 0, 1])
    found = sequence_classification.accuracy(EvalPrediction(predictions=scores, label_ids=labels))
    assert found == {"accuracy": 0.5}
