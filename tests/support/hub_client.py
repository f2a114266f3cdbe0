"""A process that reads from a hub: takes a call a line, answers with its result or its mistake.

The address of the hub and the place of its cache are read when the libraries are imported, so
that each hub needs a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Client:
    """The other end of such a process. `home` is where its libraries keep what they fetch."""

    def __init__(self, endpoint: str, home: Path, **environment: str) -> None:
        home.mkdir(exist_ok=True)
        self.errors = home / "stderr"
        hub = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        paths = {"PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        with self.errors.open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                cwd=home,
                env=kept | hub | paths | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def ask(self, call: str, token: str = "", **options: Any) -> Any:
        """The result of a call, or `{"error": ..., "problems": ...}`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([call, token, options]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, self.errors.read_text()
        return json.loads(answer)

    def close(self) -> None:
        self._process.communicate(timeout=60)


def read(cache: str, **options: Any) -> dict[str, Any]:
    """All texts of a dataset."""
    from trainables.data.corpora import CorpusOptions, texts
    from trainables.data.sources import open_corpus

    corpus = open_corpus(CorpusOptions(**options), Path(cache), _log)
    return {"texts": list(texts(corpus, None)), "fingerprint": corpus.fingerprint}


def encode(name: str, text: str, revision: str | None = None) -> dict[str, Any]:
    """A text in the tokens of a tokenizer."""
    from trainables.data.vocabulary import load_pretrained

    return {"ids": load_pretrained(name, revision)(text)["input_ids"]}


def train(cache: str, **options: Any) -> dict[str, Any]:
    """Two steps of training: the weights before and after, and the losses."""
    from transformers import TrainingArguments

    from trainables import continue_causal_lm as recipe

    config = recipe.Config(**options, block_size=16, eval_tokens=64)
    data = recipe.prepare(config, Path(cache), _log)
    args = TrainingArguments(
        output_dir=str(Path(cache, "output")),
        max_steps=2,
        logging_steps=1,
        learning_rate=0.01,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = recipe.build(config, data, args)
    before = trainer.model.lm_head.weight.sum().item()
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    after = trainer.model.lm_head.weight.sum().item()
    return {"before": before, "after": after, "losses": losses, "facts": data.facts}


def make(folder: str, documents: list[str]) -> dict[str, Any]:
    """A tiny GPT-2 and its tokenizer, saved to a folder; gives what it was made with."""
    from transformers import GPT2Config, GPT2LMHeadModel, set_seed

    from trainables.data.vocabulary import load_bpe, train_bpe

    Path(folder).mkdir(parents=True)
    train_bpe(Path(folder), documents, sum(map(len, documents)), 400)
    tokenizer = load_bpe(Path(folder))
    set_seed(1)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=32,
            n_embd=16,
            n_layer=1,
            n_head=2,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    ids = tokenizer(documents[0])["input_ids"]
    return {"weights": model.lm_head.weight.sum().item(), "ids": ids}


CALLS = {call.__name__: call for call in (read, encode, train, make)}


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _serve() -> None:
    from tune_app.errors import UserError

    answers = os.fdopen(os.dup(1), "w")
    # What the libraries print is no answer.
    os.dup2(2, 1)
    for line in sys.stdin:
        call, token, options = json.loads(line)
        os.environ["HF_TOKEN"] = token
        try:
            answer = CALLS[call](**options)
        except UserError as error:
            problems = [asdict(problem) for problem in error.problems]
            answer = {"error": str(error), "problems": problems}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
