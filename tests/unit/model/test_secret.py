"""Secrets do not show."""

from __future__ import annotations

import pickle

import pytest

from mailcore.model.secret import Secret


def test_no_way_of_printing_shows_the_value() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]} {secret!s}"
    assert secret.reveal() == b"hunter2"
    assert secret == Secret(b"hunter2") != Secret("hunter3")


def test_it_is_never_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("hunter2"))
