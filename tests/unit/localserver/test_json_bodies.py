"""Request bodies and replies as JSON: what is taken, what is refused before it costs anything."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from clearml_localserver import json_bodies, long_strings
from clearml_localserver.errors import ApiError
from clearml_localserver.json_bodies import Unread, parse_form, parse_lines, parse_object, query_value, render
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c_calls import long_c_calls

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.floats(allow_nan=False, width=32),
    lambda items: st.lists(items, max_size=4) | st.dictionaries(st.text(), items, max_size=4),
    max_leaves=8,
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test reaches in no time."""
    monkeypatch.setattr(json_bodies, "MAX_VALUES", 20)
    monkeypatch.setattr(json_bodies, "MAX_BATCH_VALUES", 60)
    monkeypatch.setattr(json_bodies, "MAX_LINES", 30)
    monkeypatch.setattr(json_bodies, "SHORT", 0)
    monkeypatch.setattr(json_bodies, "SLICE", 16)
    monkeypatch.setattr(long_strings, "SLICE", 16)
    monkeypatch.setattr(long_strings, "PIECE", 16)
    monkeypatch.setattr(json_bodies, "ODD_SLICE", 16)


def refusal(function: Any, body: bytes) -> str:
    with pytest.raises(ApiError) as refused:
        function(body)
    assert refused.value.code == 400
    return refused.value.msg


def joined(value: Any) -> bytes:
    return b"".join(render(value))


@pytest.mark.parametrize("body", [b"", b" ", b"null", b"[]", b"{}"])
def test_what_is_an_empty_object(body: bytes) -> None:
    assert parse_object(body) == {}


@pytest.mark.parametrize(
    "body", [b"{", b"[1]", b'"text"', b"\xff", b"NaN", b'{"a":NaN', b'{"a":"\\udc80}', b"\\ud8" * 9]
)
def test_what_is_no_object(body: bytes) -> None:
    refusal(parse_object, body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":[' + b"1," * 100 + b"1]}",
        b'{"a":[' + b"[]," * 100 + b"[]]}",
        b'{"a":[' + b"{}," * 100 + b"{}]}",
        b'{"a":[' + b'"\\"\\\\",' * 100 + b"1]}",
    ],
)
def test_too_many_values_are_refused(small: None, body: bytes) -> None:
    assert "more than 20 values" in refusal(parse_object, body)


@pytest.mark.parametrize("text", [",[{" * 100, '"' * 100, "\\" * 6 + '",' * 50, "\\" * 5 + "é,[", "x" * 500])
def test_what_stands_in_a_string_is_not_counted(small: None, text: str) -> None:
    body = orjson.dumps({"a": text, "b": [1, 2, text]})
    assert parse_object(body) == {"a": text, "b": [1, 2, text]}


def test_a_run_of_backslashes_beyond_a_slice_is_refused(small: None) -> None:
    assert "backslashes" in refusal(parse_object, b'{"a":"' + b"\\" * 100 + b'"}')


@pytest.mark.parametrize("levels", [99, 100, 260, 1000, 100_000])
@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_has_a_limit(levels: int, begin: bytes, end: bytes) -> None:
    body = b'{"a":' + begin * (levels - 1) + b"1" + end * (levels - 1) + b"}"
    if levels <= json_bodies.MAX_DEPTH:
        assert parse_object(body)
    else:
        refusal(parse_object, body)


def test_lines_have_limits_of_their_own(small: None) -> None:
    assert len(parse_lines(b'{"a":1}\n' * 30)) == 30
    assert "30 lines" in refusal(parse_lines, b"{}\n" * 31)
    assert "60 values" in refusal(parse_lines, b'{"a":[1,2,3,4]}\n' * 20)
    large, good = parse_lines(b'{"a":[' + b"1," * 30 + b'1]}\n{"a":1}')
    assert isinstance(large, Unread)
    assert "20 values" in large.reason
    assert good == {"a": 1}
    assert "no items" in refusal(parse_lines, b"\n")
    assert "found: list" in refusal(parse_lines, b"{}\n[]")


@pytest.mark.parametrize("value", ["[" * 200 + "]" * 200, "[" * 5000 + "]" * 5000, "[NaN," * 5000 + "0" + "]" * 5000])
def test_a_line_that_is_too_deep_costs_no_other(value: str) -> None:
    before, deep, after = parse_lines(f'{{"a":1}}\n{{"a":{value}}}\n{{"a":2}}'.encode())
    assert (before, deep, after) == ({"a": 1}, {}, {"a": 2})
    assert isinstance(deep, Unread)
    assert "100 levels" in deep.reason


def test_a_form_has_a_limit(small: None) -> None:
    assert parse_form(b"a=1&b=") == {"a": "1", "b": ""}
    assert "20 fields" in refusal(parse_form, b"a=1&" * 21)


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("-5", -5), ("1.5", 1.5), ("x", "x"), ("9" * 30, "9" * 30), ("9" * 5000, "9" * 5000), ("٣", "٣")],
)
def test_values_of_an_address(text: str, value: Any) -> None:
    assert query_value(text) == value
    assert render({"value": query_value(text)})


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("caf\udce9.py", "caf\ufffd.py"),
        ("\ud83d", "\ufffd"),
        ("\ud83dx\ude00", "\ufffdx\ufffd"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\U0001f600 \udcff \\ud83d \x00", "\U0001f600 \ufffd \\ud83d \x00"),
        (
            [float("inf"), float("-inf"), 2**63, -(2**63), 2**64, 10**25, 10**400],
            [*map(float, ("inf", "-inf")), 2**63, -(2**63), 2.0**64, 1e25, float("inf")],
        ),
    ],
)
def test_json_as_python_writes_it_is_read(sent: Any, read: Any) -> None:
    body = json.dumps({"a": {"name \udc80": [sent]}, "plain": 1}).encode()
    assert parse_object(body) == {"a": {"name \ufffd": [read]}, "plain": 1}
    assert render(parse_object(body))


def test_nan_is_read_as_such() -> None:
    (value,) = parse_object(b'{"a":NaN}').values()
    assert math.isnan(value)


def test_a_number_beyond_all_floats_is_infinite() -> None:
    assert parse_object(b'{"a":' + b"9" * 5000 + b"}") == {"a": math.inf}


def test_deep_json_of_python_is_refused() -> None:
    body = b'{"a":NaN,"b":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    refusal(parse_object, body)
    refusal(parse_object, body.replace(b"[" * 100_000, b"[" * 200).replace(b"]" * 100_000, b"]" * 200))


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters() | st.characters(categories=["Cs"])))
def test_any_text_of_python_is_read_and_can_be_answered(text: str) -> None:
    (read,) = parse_object(json.dumps({"a": text}).encode()).values()
    assert len(read) <= len(text)
    assert orjson.loads(joined(read)) == read


@settings(max_examples=30, deadline=None)
@given(json_values)
def test_a_reply_in_pieces_is_the_reply(value: Any) -> None:
    assert orjson.loads(joined({"data": value, "more": [value, {"x": value}]})) == orjson.loads(
        orjson.dumps({"data": value, "more": [value, {"x": value}]})
    )


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_iterator_is_a_list(count: int) -> None:
    assert joined({"tasks": iter(range(count)), "x": 1}) == orjson.dumps({"tasks": list(range(count)), "x": 1})


def test_a_large_reply_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_bodies, "SLICE", 100)
    value = {"tasks": [{"name": f"task {n}"} for n in range(50)]}
    assert 5 < len(render(value)) < 15
    assert joined(value) == orjson.dumps(value)
    assert len(render({})) == 1


def test_keys_that_are_no_text_are_written_as_text() -> None:
    assert joined({1: [2], None: {3: 4}}) == b'{"1":[2],"null":{"3":4}}'


@pytest.mark.parametrize("value", [{"a": {1, 2}}, {"a": 2**70}, {"a": ["\ud800"]}, {"\ud800": 1}])
def test_what_json_cannot_carry_is_refused(value: Any) -> None:
    refusal(render, value)


def test_a_reply_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_bodies, "MAX_REPLY_BYTES", 100)
    assert "only_fields" in refusal(render, {"tasks": ["x" * 60] * 2})


def test_a_list_of_documents_is_written_document_by_document_and_a_document_whole() -> None:
    assert len(list(json_bodies._pieces({"tasks": [{"a": {"b": 1}}] * 3}, json_bodies.LEVELS))) == 3 + 7 + 1
    assert len(list(json_bodies._pieces({"task": {"a": {"b": 1}, "c": [1, 2]}}, json_bodies.LEVELS))) == 5


@pytest.mark.parametrize(
    "text", ["x" * 2_000_000, ("1" * 299 + "x") * 2_000, "\\u" * 1_000_000, "N" * 2_000_000, "[" * 2_000_000]
)
def test_no_call_keeps_the_interpreter_for_text_that_is_not_json(text: str) -> None:
    with long_c_calls(50) as found:
        refusal(parse_object, b'{"a":"' + text.encode())
    assert found == []


@pytest.mark.parametrize("text", ["x", "\\n", "\\ud83d\\ude00", "é", "a line\\n", '\\"'])
@pytest.mark.parametrize("end", [b'"}', b'"]', b'\xff"}', b""])
def test_no_call_keeps_the_interpreter_for_one_long_string(text: str, end: bytes) -> None:
    unit = text.encode()
    body = b'{"a":"' + unit * (json_bodies.MAX_TEXT_BYTES // 4 // len(unit)) + end
    with long_c_calls(15) as found:
        if end == b'"}':
            assert len(parse_object(body)["a"]) > 300_000
        else:
            refusal(parse_object, body)
    assert found == []


@pytest.mark.parametrize("levels", [90, 1000, 1020, 5000])
def test_a_long_string_within_many_levels_is_read_or_refused(levels: int) -> None:
    body = b'{"a":' + b"[" * levels + b'"' + b"x" * 300_000 + b'"' + b"]" * levels + b"}"
    if levels < json_bodies.MAX_DEPTH:
        assert parse_object(body)
    else:
        assert "100 levels" in refusal(parse_object, body)


@given(
    st.lists(st.text(st.sampled_from(["a", "é", "漢", "😀", "\n", "\\", '"', "\x01", ",", "[", "\ufffe"])), max_size=6),
    st.booleans(),
)
@settings(max_examples=400)
def test_long_strings_are_what_they_were(texts: list[str], ascii_only: bool) -> None:
    """Wherever a piece ends: in an escape, between two surrogates, within a character."""
    value = {"list": [text * 5 for text in texts], "n": 1} | {text * 3: text for text in texts}
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_strings, "SLICE", 8)
        patch.setattr(long_strings, "PIECE", 8)
        patch.setattr(long_strings, "SEARCHED_BYTES", 14)
        patch.setattr(json_bodies, "MAX_VALUES", len(body) // 2 - 1)
        try:
            assert parse_object(body) == value
        except ApiError as error:
            assert error.msg == "The request has too many backslashes in a row"
            assert b"\\" * 8 in body


@pytest.mark.parametrize("odd", ["NaN", "-Infinity", '"\\udc80"', "9" * 400])
@pytest.mark.parametrize("before", range(0, 40, 3))
def test_what_only_python_writes_is_found_wherever_a_slice_ends(small: None, before: int, odd: str) -> None:
    assert set(parse_object(f'{{"{"x" * before}":{odd}}}'.encode())) == {"x" * before}


def test_one_text_has_a_longest_length(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in {"SHORT": 0, "MAX_TEXT_BYTES": 50, "MAX_ODD_BYTES": 30}.items():
        monkeypatch.setattr(json_bodies, name, limit)
    assert "more than 50 bytes" in refusal(parse_object, b'{"a":"' + b"x" * 50 + b'"}')
    large, odd, good = parse_lines(
        b'{"a":"' + b"x" * 50 + b'"}\n{"a":NaN,"b":"' + b"x" * 20 + b'"}\n{"a":"' + b"x" * 42 + b'"}\n\n'
    )
    assert isinstance(large, Unread) and "50 bytes" in large.reason
    assert isinstance(odd, Unread) and "30 bytes" in odd.reason
    assert good == {"a": "x" * 42}


def test_an_empty_line_in_a_batch_is_refused() -> None:
    assert "could not understand" in refusal(parse_lines, b'{"a":1}\n\n{"a":1}')
