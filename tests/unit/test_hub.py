"""Reading from the hub: real clients against a real server on loopback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.hub_client import Client
from tests.support.hub_server import Hub, Repositories, commit_of, serving

TOKEN, OTHER_TOKEN, WRONG_TOKEN = "hf_rightOne", "hf_ofAnother", "hf_outOfDate"
TEXT = "мама мыла раму"
CARD = """---
configs:
- config_name: poems
  data_files:
  - {split: train, path: poems/train.jsonl}
  - {split: test, path: poems/test.jsonl}
- config_name: prose
  data_files:
  - {split: train, path: prose/train.jsonl}
---
Texts.
"""


def texts(kind: str, number: int = 40) -> list[str]:
    return [f"{kind} {i}: {' '.join([TEXT] * (i % 7 + 2))}" for i in range(number)]


def put(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".jsonl":
            rows = [json.dumps({"number": i, "text": t}) for i, t in enumerate(texts(kind))]
            path.write_text("\n".join(rows), encoding="utf-8")
        case ".csv":
            path.write_text("\n".join(["text", *texts(kind)]), encoding="utf-8")
        case ".parquet":
            pq.write_table(pa.table({"text": texts(kind)}), path)
        case _:
            path.write_text(kind, encoding="utf-8")


FILES = {
    "lines/main/train.jsonl": "lines",
    "table/main/some.csv": "table",
    "columns/main/data/train-00000-of-00001.parquet": "columns",
    "secret/main/train.parquet": "secret",
    "gated/main/train.jsonl": "gated",
    "moving/main/train.jsonl": "before",
    "program/main/program.py": "import pathlib; pathlib.Path('ran').touch()",
    "program/refs%2Fconvert%2Fparquet/default/train/0000.parquet": "copy",
    "empty/main/weights.xyz": "nothing",
    "damaged/main/train.json": '{"text": oops',
    **{
        f"several/{revision}/{part}": f"{part} of {revision}"
        for revision in ("main", "v2")
        for part in ("poems/train.jsonl", "poems/test.jsonl", "prose/train.jsonl")
    },
    "several/main/README.md": CARD,
    "several/v2/README.md": CARD,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    for name, kind in FILES.items():
        put(root / "datasets/owner" / name, kind)
    return root


@pytest.fixture(scope="module")
def hub(root: Path) -> Iterator[Hub]:
    moved = {"several": "owner/several", "gpt": "owner/gpt"}
    private, gated = {"owner/secret": TOKEN, "owner/hidden": TOKEN}, {"owner/gated": OTHER_TOKEN}
    with serving(Repositories(root, private, gated, moved)) as hub:
        yield hub


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(hub: Hub, home: Path) -> Iterator[Client]:
    client = Client(hub.endpoint, home)
    yield client
    client.close()


@pytest.fixture(scope="module")
def model(root: Path, client: Client) -> dict[str, Any]:
    """A model on the hub under several names, each with something of its own."""
    models = root / "models/owner"
    made: dict[str, Any] = client.ask("make", folder=str(models / "gpt/main"), documents=texts("a"))
    for name in ("half", "hidden", "pickled", "programmed"):
        shutil.copytree(models / "gpt", models / name)
    (models / "pickled/main/model.safetensors").unlink()
    (models / "pickled/main/pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    config = json.loads((models / "programmed/main/config.json").read_text())
    code = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}
    config |= {"model_type": "own", "auto_map": code}
    (models / "programmed/main/config.json").write_text(json.dumps(config))
    (models / "programmed/main/own.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    return made


@pytest.fixture
def cache(tmp_path: Path) -> str:
    return str(tmp_path / "cache")


def only_problem(answer: dict[str, Any]) -> str:
    assert len(answer["problems"]) == 1
    return str(answer["error"])


# Datasets


@pytest.mark.parametrize("name", ["lines", "table", "columns"])
def test_a_dataset_is_read_by_its_name(client: Client, cache: str, name: str) -> None:
    answer = client.ask("read", cache=cache, dataset=f"owner/{name}")
    assert answer["texts"] == texts(name)


def test_configuration_split_and_revision_choose_the_text(
    client: Client, cache: str, root: Path
) -> None:
    commit = commit_of(root / "datasets/owner/several/v2")
    expected = {
        ("poems", None, None): texts("poems/train.jsonl of main"),
        ("poems", "test", None): texts("poems/test.jsonl of main"),
        ("poems", "test[:25%]", None): texts("poems/test.jsonl of main")[:10],
        ("prose", None, None): texts("prose/train.jsonl of main"),
        ("poems", None, "v2"): texts("poems/train.jsonl of v2"),
        ("prose", None, commit): texts("prose/train.jsonl of v2"),
    }
    fingerprints = set()
    for (config, part, revision), found in expected.items():
        options: dict[str, Any] = {
            "dataset_config": config,
            "dataset_split": part,
            "dataset_revision": revision,
        }
        answer = client.ask("read", cache=cache, dataset="owner/several", **options)
        assert answer["texts"] == found
        fingerprints.add(answer["fingerprint"])
    assert len(fingerprints) == len(expected)


def test_a_branch_and_its_commit_are_one_corpus(client: Client, cache: str, root: Path) -> None:
    options = {"cache": cache, "dataset": "owner/several", "dataset_config": "poems"}
    commit = commit_of(root / "datasets/owner/several/v2")
    branch = client.ask("read", **options, dataset_revision="v2")
    assert client.ask("read", **options, dataset_revision=commit) == branch


def test_the_commit_read_first_stays_in_use_when_the_branch_moves(
    client: Client, cache: str, root: Path
) -> None:
    before = client.ask("read", cache=cache, dataset="owner/moving")
    put(root / "datasets/owner/moving/main/train.jsonl", "after")
    assert before["texts"] == texts("before")
    assert client.ask("read", cache=cache, dataset="owner/moving") == before
    elsewhere = client.ask("read", cache=f"{cache}-2", dataset="owner/moving")
    assert elsewhere["texts"] == texts("after")
    assert elsewhere["fingerprint"] != before["fingerprint"]
    assert client.ask("read", cache=cache, dataset="owner/moving") == before


def test_a_dataset_is_found_under_its_old_name(client: Client, cache: str) -> None:
    answer = client.ask("read", cache=cache, dataset="several", dataset_config="prose")
    assert answer["texts"] == texts("prose/train.jsonl of main")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dataset": "owner/none"}, ["no dataset of this name", "ru, en", "check the name"]),
        ({"dataset": "csv"}, ["no dataset of this name", "a file, a folder"]),
        ({"dataset": "owner/a b"}, ["Repo id must", "'owner/a b'"]),
        ({"dataset": "owner/several"}, ["none of several is chosen", "one of poems, prose"]),
        ({"dataset_config": "poem"}, ["'poem'", "one of poems, prose", "did you mean 'poems'?"]),
        ({"dataset_split": "tset"}, ["'tset'", "one of train, test", "did you mean 'test'?"]),
        ({"dataset_split": "train[:5"}, ["train[:5", "one of train, test", "train[:10%]"]),
        ({"dataset_revision": "v3"}, ["no revision 'v3'", "one of main, v2"]),
        ({"dataset": "owner/empty"}, ["cannot be read", "data files found"]),
        ({"dataset": "owner/damaged"}, ["cannot be read", "JSON parse error"]),
    ],
)
def test_a_wrong_name_is_one_mistake_that_tells_what_there_is(
    client: Client, cache: str, options: dict[str, str], expected: list[str]
) -> None:
    if "dataset" not in options:
        options = {"dataset": "owner/several", "dataset_config": "poems"} | options
    said = only_problem(client.ask("read", cache=cache, **options))
    assert f"dataset {options['dataset']}: " in said
    assert [part for part in expected if part not in said] == []


def test_a_dataset_made_by_a_program_is_refused_and_its_copy_read(
    client: Client, cache: str, home: Path, hub: Hub
) -> None:
    said = only_problem(client.ask("read", cache=cache, dataset="owner/program"))
    assert "made by a program (program.py), which is not run" in said
    assert "dataset_revision: refs/convert/parquet" in said
    assert not any(r.startswith("GET") and "program.py" in r for r in hub.requests)
    assert not (home / "ran").exists()
    revision = "refs/convert/parquet"
    answer = client.ask("read", cache=cache, dataset="owner/program", dataset_revision=revision)
    assert answer["texts"] == texts("copy")


# Tokens of persons


@pytest.mark.parametrize(
    ("call", "options"),
    [("read", {"dataset": "owner/secret"}), ("encode", {"name": "owner/hidden", "text": TEXT})],
)
@pytest.mark.usefixtures("model")
def test_what_is_private_asks_for_hf_token_and_never_shows_it(
    client: Client, cache: str, hub: Hub, call: str, options: dict[str, str]
) -> None:
    if call == "read":
        options = options | {"cache": cache}
    for token, expected in (
        ("", "set HF_TOKEN to a token that may read it"),
        (OTHER_TOKEN, "the token of HF_TOKEN must be one that may read it"),
        (WRONG_TOKEN, "the hub does not know the token"),
        ("hf_кириллицей", "holds letters that no token has"),
    ):
        said = only_problem(client.ask(call, token, **options))
        assert expected in said
    assert "error" not in client.ask(call, TOKEN, **options)
    log = client.errors.read_text() + str(hub.requests)
    for token in (TOKEN, OTHER_TOKEN, WRONG_TOKEN, "hf_кириллицей"):
        assert token not in log + said


def test_a_token_is_not_sent_to_where_large_files_are(client: Client, cache: str, hub: Hub) -> None:
    assert client.ask("read", TOKEN, cache=cache, dataset="owner/secret")["texts"]
    assert any("/contents/datasets/owner/secret" in request for request in hub.requests)
    assert hub.leaks == []


def test_a_gated_dataset_tells_where_to_ask(client: Client, cache: str, hub: Hub) -> None:
    for token in ("", TOKEN):
        said = only_problem(client.ask("read", token, cache=cache, dataset="owner/gated"))
        assert "it is gated" in said
        assert f"ask at {hub.endpoint}/datasets/owner/gated, then set HF_TOKEN" in said
    answer = client.ask("read", OTHER_TOKEN, cache=cache, dataset="owner/gated")
    assert answer["texts"] == texts("gated")


def test_a_refused_token_does_not_bring_another_revision(client: Client, cache: str) -> None:
    options = {"dataset": "owner/several", "dataset_config": "poems"}
    assert client.ask("read", cache=cache, **options, dataset_revision="v2")["texts"]
    said = only_problem(client.ask("read", WRONG_TOKEN, cache=f"{cache}-2", **options))
    assert "the hub does not know the token" in said


# Models and tokenizers


def test_a_tokenizer_is_read_by_its_name(client: Client, model: dict[str, Any]) -> None:
    for name in ("owner/gpt", "gpt"):
        assert client.ask("encode", name=name, text=texts("a")[0]) == {"ids": model["ids"]}


@pytest.mark.parametrize(
    ("name", "revision", "expected"),
    [
        ("owner/none", None, ["tokenizer owner/none: the hub shows no model of this name"]),
        ("owner/gpt", "v1", ["tokenizer owner/gpt: there is no revision 'v1'", "one of main"]),
    ],
)
@pytest.mark.usefixtures("model")
def test_a_wrong_name_of_a_tokenizer_is_one_mistake(
    client: Client, name: str, revision: str | None, expected: list[str]
) -> None:
    said = only_problem(client.ask("encode", name=name, text=TEXT, revision=revision))
    assert [part for part in expected if part not in said] == []


@pytest.mark.usefixtures("model")
def test_what_is_half_fetched_is_fetched_again(client: Client, home: Path) -> None:
    whole = client.ask("encode", name="owner/half", text=TEXT)
    (file,) = home.glob("hub/models--owner--half/snapshots/*/tokenizer.json")
    file.unlink()
    assert client.ask("encode", name="owner/half", text=TEXT) == whole


def test_training_goes_on_from_a_model_of_the_hub(
    client: Client, cache: str, hub: Hub, model: dict[str, Any]
) -> None:
    answer = client.ask("train", cache=cache, model="owner/gpt", dataset="owner/lines")
    assert answer["before"] == pytest.approx(model["weights"])
    assert answer["after"] != pytest.approx(model["weights"])
    assert [0 < loss < 100 for loss in answer["losses"]] == [True, True]
    # Steps towards a service that converts weights and puts them into a pull request.
    assert not any("/commits/" in r or "/discussions" in r for r in hub.requests)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pickled", "no weights in safetensors, only pytorch_model.bin"),
        ("programmed", "it comes with code of its own, which is not run"),
    ],
)
@pytest.mark.usefixtures("model")
def test_what_could_run_code_is_refused(
    client: Client, cache: str, home: Path, hub: Hub, name: str, expected: str
) -> None:
    answer = client.ask("train", cache=cache, model=f"owner/{name}", dataset="owner/lines")
    assert f"model owner/{name}: " in only_problem(answer)
    assert expected in only_problem(answer)
    assert not any("pytorch_model.bin" in r or "own.py" in r for r in hub.requests)
    assert not (home / "ran").exists()


# Without the hub


def test_what_was_fetched_needs_no_hub(client: Client, cache: str, home: Path, root: Path) -> None:
    options = {"cache": cache, "model": "owner/gpt", "dataset": "owner/columns"}
    first = client.ask("train", **options)
    with serving(Repositories(root)) as stopped:
        pass
    alone = Client(stopped.endpoint, home)
    assert alone.ask("train", **options) == first
    # Read out of the libraries' own cache, as another tokenizer would.
    assert alone.ask("read", cache=cache, dataset="owner/columns")["texts"] == texts("columns")
    said = only_problem(alone.ask("read", cache=cache, dataset="owner/table", dataset_split="test"))
    alone.close()
    assert f"the hub at {stopped.endpoint} could not be reached" in said


def test_an_offline_run_takes_the_revision_that_was_asked_for_or_none(
    hub: Hub, client: Client, cache: str, home: Path, root: Path
) -> None:
    options = {"dataset": "owner/several", "dataset_config": "prose"}
    pinned = options | {"dataset_revision": commit_of(root / "datasets/owner/several/main")}
    # The commit of `main` in the cache is the older one of both.
    expected = client.ask("read", cache=cache, **pinned)
    client.ask("read", cache=cache, **options, dataset_revision="v2")
    offline = Client(hub.endpoint, home, HF_HUB_OFFLINE="1")
    asked = len(hub.requests)
    assert offline.ask("read", cache=cache, **pinned) == expected
    elsewhere = offline.ask("read", cache=f"{cache}-2", **pinned)
    unknown = offline.ask("read", cache=cache, **options, dataset_revision="v3")
    offline.close()
    assert "is not available" in only_problem(elsewhere)
    assert "HF_HUB_OFFLINE" in only_problem(unknown)
    assert len(hub.requests) == asked
