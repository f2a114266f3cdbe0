"""YAML by the 1.2 core schema, with the place of every key, and nothing but plain data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tune_app.errors import Problem, UserError
from tune_app.study import yaml_source
from tune_app.study.yaml_source import load, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-3", -3),
        ("+3", 3),
        ("0777", 777),
        ("0o17", 15),
        ("0xff", 255),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("1_000", 1000),
        ("12:30:00", "12:30:00"),
        ("2024-01-01", "2024-01-01"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("1.2.3", "1.2.3"),
        ("[1, [2.0, x]]", [1, [2.0, "x"]]),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    read = parse(f"key: {text}", "x").data["key"]
    assert repr(read) == repr(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(parse("key: .nan", "x").data["key"])


def test_a_place_is_the_line_and_column_of_the_key() -> None:
    source = parse("a:\n  b: 1\n  c:\n    - 1\n    - d: 2\n", "f.yaml")
    assert source.where(("a", "b")) == "f.yaml:2:3 a.b"
    assert source.where(("a", "c", 1, "d")) == "f.yaml:5:7 a.c.1.d"
    assert source.where(("a", "b", "deeper")) == "f.yaml:2:3 a.b.deeper"
    assert source.where(()) == "f.yaml:1:1"


def test_a_value_set_from_elsewhere_has_its_own_place() -> None:
    source = parse("a: {b: 1}", "f.yaml")
    source.overrides[("a", "b")] = "--set a.b=2"
    assert source.where(("a", "b")) == "--set a.b=2"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "just text",
        "a: [1",
        "a: b: c",
        "\ta: 1",
        "a: 1\na: 2",
        "? [a, b]\n: 1",
        "a: &x [*x]",
        "a: &x {b: *x}",
        "a: *nowhere",
        "a: !!python/object/apply:os.system ['true']",
        "a: !!python/name:os.system ''",
        "a: !mine 3",
        "a: !mine [3]",
        "a: !mine {b: 3}",
        "<<: 5",
        "<<: no",
        "<<: [1, {a: 2}]",
        'a: "\\UFFFFFFFF"',
        'a: "\\U00110000"',
        'a: "\\ud800"',
        "a: \x00",
        "a: 1\n---\nb: 2",
        "a: " + "[" * 5000,
        "a: " + "[" * 5000 + "]" * 5000,
        "%YAML 9.9\n---\na: 1",
        "a: @b",
    ],
    ids=repr,
)
def test_what_is_no_plain_mapping_is_a_message(text: str) -> None:
    problems = mistakes(text)
    assert problems
    assert all(problem.where.startswith("f.yaml") for problem in problems)


def mistakes(text: str) -> list[Problem]:
    try:
        return parse(text, "f.yaml").problems
    except UserError as error:
        return list(error.problems)


def test_a_message_says_where_the_mistake_is() -> None:
    with pytest.raises(UserError) as caught:
        parse("a: 1\nb: [1, 2\nc: 3\n", "f.yaml")
    assert caught.value.problems[0].where.startswith("f.yaml:3:")


def test_all_repeated_keys_are_told() -> None:
    told = [str(problem) for problem in mistakes("a: 1\na: 2\nb: {c: 1, c: 2}")]
    assert len(told) == 2
    assert "f.yaml:2:1 a" in told[0]
    assert "already given in line 1" in told[0]
    assert "delete line 2 to keep that one" in told[0]


def test_a_tag_says_what_a_scalar_is() -> None:
    text = "a: !!str 5\nb: !!int '5'\nc: !!float '1e-3'\nd: !!float 1\ne: !!null ''"
    source = parse(text, "f.yaml")
    assert repr(source.data) == repr({"a": "5", "b": 5, "c": 1e-3, "d": 1.0, "e": None})
    assert not source.problems
    assert not source.warnings
    assert mistakes("a: !!int x")


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    lines = ["x0: &x0 [a, a, a, a, a, a, a, a, a, a]"]
    lines += [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]" for i in range(1, 9)]
    (told,) = mistakes("\n".join(lines))
    assert "more than 100,000 values" in told.what


@pytest.mark.parametrize("digits", [10, 2999, 5000])
def test_long_numbers_of_other_bases_are_no_traceback(digits: int) -> None:
    for prefix in ("0x", "0o"):
        parse(f"parameters: {{a: {prefix}{'7' * digits}}}", "f.yaml")


def test_texts_that_look_like_numbers_come_back_as_texts() -> None:
    data = {"a": ["1e-5", "1E3", "0o17", "0x1F", "no", "5", "1_000"], "b": 1e-5, "c": {"d": "1e5"}}
    again = parse(yaml_source.dump(data), "f.yaml")
    assert again.data == data
    assert not again.problems
    assert not again.warnings


def test_a_key_repeated_with_its_value_is_only_told() -> None:
    source = parse("a: 1\na: 1", "f.yaml")
    assert not source.problems
    assert [str(item) for item in source.warnings] == [
        "f.yaml:2:1 a: the key 'a' was already given in line 1, with the same value\n"
        "  to do: delete line 2"
    ]


@pytest.mark.parametrize("text", ["yes", "No", "on", "010", "1:30"])
def test_a_parameter_that_yaml_1_1_reads_otherwise_is_refused_with_both_mends(text: str) -> None:
    (told,) = mistakes(f"parameters: {{p: {{value: {text}}}}}")
    assert f"{text} can be read in two ways" in told.what
    assert " for " in told.fix
    assert not mistakes(f"name: {text}")


@pytest.mark.parametrize(
    ("text", "both"), [("1e-5", "1.0e-05"), ("1e3", "1000.0"), ("5E-4", "0.0005")]
)
def test_a_number_that_wandb_takes_for_text_is_told_with_how_to_write_it(
    text: str, both: str
) -> None:
    (told,) = parse(f"a: {text}", "f.yaml").warnings
    assert f"write {both} " in told.fix
    assert parse(f"a: {both}", "f.yaml").warnings == []
    assert parse(f"a: {both}", "f.yaml").data["a"] == parse(f"a: {text}", "f.yaml").data["a"]


def test_merged_keys_give_way_to_those_written_out() -> None:
    text = "base: &b {x: 1, y: 2}\none: {<<: *b, x: 3}\ntwo: {x: 3, <<: *b}\n"
    source = parse(text, "f.yaml")
    assert source.data["one"] == source.data["two"] == {"x": 3, "y": 2}
    assert source.where(("one", "x")) == "f.yaml:2:15 one.x"
    assert source.where(("two", "x")) == "f.yaml:3:7 two.x"


def test_of_several_merged_mappings_the_first_has_the_word() -> None:
    text = "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}"
    assert parse(text, "f.yaml").data["c"] == {"x": 1, "y": 2}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: \xe4"])
def test_a_file_that_is_not_utf8_is_a_message(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match="UTF-8"):
        load(path)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert load(path).data == {"a": 1}


def test_a_missing_file_and_a_folder_are_messages(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.yaml"):
        with pytest.raises(UserError, match="cannot read"):
            load(path)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", "1:1", "is empty"),
        ("# nothing\n", "1:1", "is empty"),
        ("- a\n- b\n", "1:1", "holds no mapping"),
        ("# first\n\n  hello\n", "3:3", "holds no mapping"),
    ],
)
def test_a_file_without_keys_is_told_with_its_place(text: str, place: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text, "f.yaml")
    (problem,) = caught.value.problems
    assert (problem.where, problem.what) == (f"f.yaml:{place}", words)


def test_what_stands_at_an_anchor_is_told_once() -> None:
    text = "parameters:\n  a: &a {min: &m 1e-5, max: no}\n  b: *a\n  c: {min: *m, max: 1}\n"
    source = parse(text, "f.yaml")
    assert [item.where for item in source.warnings] == ["f.yaml:2:10 parameters.a.min"]
    assert [item.where for item in source.problems] == ["f.yaml:2:24 parameters.a.max"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("parameters: {a: {values: [“x”, y]}}", ['write "x"']),
        ("parameters: {“a”: {value: 1}}", ['write "a"']),
        ("parameters: {a: {value: «x»}}", ['write "x"']),
        ("parameters: {a: {value: '“x”'}}", []),
        ("parameters: {a: {value: don’t}}", []),
        ("description: “x”", []),
    ],
)
def test_quotes_of_a_word_processor_are_told_to_be_letters(text: str, told: list[str]) -> None:
    assert [item.fix for item in parse(text, "f.yaml").warnings] == told


def test_nothing_that_moves_the_cursor_is_printed() -> None:
    problem = Problem("the value \x1b[2J\u202e", "f.yaml:1:1 a\x07\u00a0b", fix="one\ntwo «é»")
    assert str(problem) == (
        "f.yaml:1:1 a\\x07\\xa0b: the value \\x1b[2J\\u202e\n  to do: one\ntwo «é»"
    )
    assert problem.in_one_line().isascii() is False
    assert "\x1b" not in problem.in_one_line()
