"""Large JSON is read as it is written, however it comes in pieces."""

from __future__ import annotations

import io
import json
from typing import Any

import orjson
import pytest
from flask import Request
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from mailcore.api import large_bodies
from mailcore.api.errors import ApiError
from mailcore.api.large_bodies import large_json
from mailcore.services.content.spool import Spool

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


class _Dripping(io.BytesIO):
    """Gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(data)
        self._step = step

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._step)


def request_of(body: bytes, step: int = 1 << 16) -> Request:
    environ = EnvironBuilder(method="POST", content_type="application/json").get_environ()
    environ["wsgi.input"] = _Dripping(body, step)
    environ["wsgi.input_terminated"] = True
    environ["CONTENT_LENGTH"] = str(len(body))
    return Request(environ)


def read(body: bytes, step: int = 1 << 16, most: int = 1 << 24) -> Any:
    return plain(large_json(request_of(body, step), most, lambda: None))


def plain(found: Any) -> Any:
    """The same with strings in place of spools."""
    if isinstance(found, Spool):
        return found[:].decode()
    if isinstance(found, dict):
        return {name: plain(value) for name, value in found.items()}
    return [plain(value) for value in found] if isinstance(found, list) else found


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=5), st.integers(1, 40), st.booleans())
@settings(max_examples=300, deadline=None)
def test_it_is_read_as_orjson_reads_it(value: dict[str, Any], step: int, is_escaped: bool) -> None:
    body = json.dumps(value).encode() if is_escaped else orjson.dumps(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_bodies, "LONG_STRING_BYTES", 8)
        assert read(body, step) == orjson.loads(body)


def test_only_long_strings_of_some_fields_stay_apart() -> None:
    long = "x" * 100_000
    found = large_json(request_of(orjson.dumps({"content": long, "text": long, "raw": "short"})), 1 << 20, lambda: None)
    assert isinstance(found["content"], Spool)
    assert (found["text"], found["raw"]) == (long, "short")


@pytest.mark.parametrize(
    "body",
    [b'{"a":"' + b"x" * 70_000, b'{"a":"' + b"\\q" * 70_000 + b'"}', b"{", b'{"a":"' + b"\xff" * 200_000 + b'"}', b"]"],
)
def test_what_is_no_json_is_none(body: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        read(body)


def test_size_is_bounded() -> None:
    with pytest.raises(ApiError):
        read(b'{"a":"' + b"x" * 1000 + b'"}', most=500)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_bodies, "SKELETON_BYTES", 500)
        with pytest.raises(ApiError):
            read(orjson.dumps({str(number): "x" for number in range(200)}))


def test_nothing_is_an_empty_object() -> None:
    assert read(b"") == {}
    assert read(b"  ") == {}
