"""Datasets, models and tokenizers of the hub. Code from a repository is never executed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache as once
from pathlib import Path
from typing import Any

from huggingface_hub import constants

# Of httpx or of httpx2, whichever this version of the hub's client is built on.
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

from trainables.data import builtin, files
from trainables.data.corpora import Batch, Corpus, CorpusOptions
from trainables.data.repository import Repository, first_line, unknown
from trainables.data.store import key_of
from tune_app.errors import Problem, UserError
from tune_app.training.data import Log


def open_hub(options: CorpusOptions, cache: Path, log: Log) -> Corpus:
    """A dataset of the hub. The commit that was read first stays in use while the cache exists.

    Raises:
        UserError: the hub cannot be reached, has no such dataset, configuration, split or
            revision, or the data cannot be read.
    """
    asked = (options.dataset, options.dataset_config, options.dataset_split or "train")
    memo = cache / "sources" / f"{key_of('hub', asked, options.dataset_revision)}.json"
    known = files.read_memo(memo)
    if known is None or "commit" not in known:
        log(f"fetching dataset {options.dataset}")
        known = _fetch(options)
        files.write_memo(memo, known)
    rows = once(lambda: _rows(options, known))

    def batches(columns: Sequence[str]) -> Iterator[Batch]:
        chosen = rows().select_columns(list(columns)) if columns else rows()
        yield from chosen.iter(batch_size=files.ROWS)

    return Corpus(options.dataset, key_of("hub", asked, known["commit"]), batches)


def _fetch(options: CorpusOptions) -> dict[str, str]:
    """Downloads a dataset into the cache of `datasets`; returns the keys that identify it there."""
    repository = Repository(
        "dataset",
        options.dataset,
        options.dataset_revision,
        where=f"dataset {options.dataset}",
        expected=f"{', '.join(builtin.CORPORA)}, a file, a folder or a dataset of the hub",
    )
    name, cached = options.dataset, repository.cached_commit()
    if constants.HF_HUB_OFFLINE and cached:
        commit = cached
    else:
        commit = repository.commit()
        contents = repository.contents(commit)
        name = contents.name
        _check_data(name, contents.files, repository.where)
    builder = _prepared(options, name, commit)
    _part(builder, options)
    version = str(builder.config.version)
    return {"name": name, "commit": commit, "config": builder.config_id, "version": version}


def _check_data(name: str, names: Collection[str], where: str) -> None:
    """Raises UserError for a dataset that needs a loading script."""
    if (script := f"{name.split('/')[-1]}.py") in names:
        raise UserError(
            Problem(
                what=f"it is made by a program ({script}), which is not run",
                where=where,
                expected="a dataset of plain files, such as Parquet, JSON Lines or CSV",
                fix="try dataset_revision: refs/convert/parquet, where the hub often keeps a copy",
            )
        )


def _rows(options: CorpusOptions, known: Mapping[str, str]) -> Any:
    """The rows from the cache of `datasets`; downloaded again if the cache was emptied."""
    from datasets.packaged_modules.cache.cache import Cache

    builder = Cache(
        repo_id=known["name"],
        dataset_name=known["name"].split("/")[-1],
        config_name=known["config"],
        version=known["version"],
        hash=known["commit"],
    )
    if not Path(builder.cache_dir).is_dir():
        builder = _prepared(options, known["name"], known["commit"])
    return _part(builder, options)


def _prepared(options: CorpusOptions, name: str, commit: str) -> Any:
    """The builder of a dataset whose files are downloaded and converted to Arrow."""
    import datasets

    datasets.disable_progress_bars()
    where = f"dataset {options.dataset}"
    try:
        builder = datasets.load_dataset_builder(name, options.dataset_config, revision=commit)
        if builder.hash != commit:
            # If the hub fails, `datasets` takes any commit that it downloaded before.
            raise UserError(Problem(f"commit {commit} is not available now", where))
        _check_split(options, builder.config.data_files or builder.info.splits or ())
        builder.download_and_prepare()
    except ValueError as error:
        problem = _wrong_config(options, name, commit) or _unreadable(error, where)
        raise UserError(problem) from error
    except (HTTPError, OSError, datasets.exceptions.DatasetsError) as error:
        raise UserError(_unreadable(error, where)) from error
    return builder


def _part(builder: Any, options: CorpusOptions) -> Any:
    split = options.dataset_split or "train"
    _check_split(options, builder.info.splits)
    try:
        return builder.as_dataset(split=split)
    except ValueError as error:
        where = f"dataset_split of dataset {options.dataset}"
        names = ", ".join(builder.info.splits)
        expected = f"one of {names}, or a part of one such as {names.split(',')[0]}[:10%]"
        raise UserError(Problem(first_line(error), where, expected)) from error


def _check_split(options: CorpusOptions, known: Collection[str]) -> None:
    """Raises UserError for a split that is not among the known ones; nothing if none is known."""
    where = f"dataset_split of dataset {options.dataset}"
    asked = (options.dataset_split or "train").split("+")
    names = {part.split("[")[0].strip() for part in asked} - {"all"}
    if known and (missing := sorted(names - {str(name) for name in known})):
        splits = [str(name) for name in known]
        raise UserError(unknown("split", name, splits, where) for name in missing)


def _wrong_config(options: CorpusOptions, name: str, commit: str) -> Problem | None:
    """The problem of a configuration that does not exist, or of not choosing one of several."""
    import datasets

    names: list[str] = []
    # Without the names, the original error is reported.
    with suppress(HTTPError, OSError, ValueError, datasets.exceptions.DatasetsError):
        names = datasets.get_dataset_config_names(name, revision=commit)
    where = f"dataset_config of dataset {options.dataset}"
    if options.dataset_config is None and len(names) > 1:
        return Problem("none of several is chosen", where, f"one of {', '.join(names)}")
    if names and options.dataset_config not in (None, *names):
        return unknown("configuration", str(options.dataset_config), names, where)
    return None


def _unreadable(error: Exception, where: str) -> Problem:
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    return Problem(f"cannot be read ({first_line(cause)})", where)


def from_pretrained(
    load: Callable[..., Any],
    name: str,
    revision: str | None,
    where: str,
    needs: str,
    **options: Any,
) -> Any:
    """The result of `from_pretrained` for a folder or a hub name; never executes its code.

    A downloaded copy is used without a request to the hub, and the commit that was downloaded first
    stays in use. `needs` is a file that a valid folder must have.

    Raises:
        UserError: no such folder, no such name, or the hub cannot be reached.
    """
    where = f"{where} {name}"
    options |= {"trust_remote_code": False}
    if files.looks_like_path(name):
        folder = _folder(name, where, needs)
        _check_weights([path.name for path in folder.iterdir()], where, options)
        return _loaded(load, str(folder), where, options | {"local_files_only": True})
    repository = Repository("model", name, revision, where)
    commit = repository.cached_commit()
    if commit is not None:
        # Fails if the download is incomplete.
        with suppress(OSError, ValueError):
            return load(name, revision=commit, local_files_only=True, **options)
    else:
        commit = repository.commit()
    _check_weights(repository.contents(commit).files, where, options)
    # With a commit instead of a branch, `transformers` asks no service on the internet to convert
    # weights, and takes none from a pull request.
    return _loaded(load, name, where, options | {"revision": commit})


def _folder(name: str, where: str, needs: str) -> Path:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise UserError(files.missing(folder, where))
    if not (folder / needs).is_file():
        raise UserError(Problem(f"there is no {needs} in the folder", where))
    return folder


def _check_weights(names: Collection[str], where: str, options: Mapping[str, Any]) -> None:
    """Raises UserError if weights are needed and none are in safetensors."""
    if not options.get("use_safetensors") or any(name.endswith(".safetensors") for name in names):
        return
    others = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
    raise UserError(
        Problem(
            what="there are no weights in safetensors"
            + (f", only {', '.join(others)}: to read such a file may run code" if others else ""),
            where=where,
            expected="model.safetensors",
            fix="take another model or revision, or convert this one where you trust it and name "
            "the folder",
        )
    )


def _loaded(load: Callable[..., Any], name: str, where: str, options: Mapping[str, Any]) -> Any:
    try:
        return load(name, **options)
    except (HTTPError, OSError, ValueError) as error:
        if "trust_remote_code" in str(error):
            problem = Problem(
                what="it comes with code of its own, which is not run",
                where=where,
                expected="a model that transformers knows",
            )
        else:
            cause = error.__cause__ if isinstance(error.__cause__, HTTPError) else error
            problem = Problem(first_line(cause), where)
        raise UserError(problem) from error
