"""Opens a corpus from its source: a pip package, local files, or a dataset of the hub."""

from __future__ import annotations

from pathlib import Path

from trainables.data import builtin, files, hub
from trainables.data.corpora import Corpus, CorpusOptions
from tune_app.training.data import Log


def open_corpus(options: CorpusOptions, cache: Path, log: Log) -> Corpus:
    """Finds a corpus and its fingerprint; reads the contents only if the cache lacks them.

    Raises:
        UserError: there is no such corpus, or it cannot be read.
    """
    if options.dataset in builtin.CORPORA:
        return builtin.open_builtin(options.dataset, cache, log)
    if files.looks_like_path(options.dataset):
        return files.open_files(Path(options.dataset).expanduser(), cache, log)
    return hub.open_hub(options, cache, log)
