"""The audit log in plain words: each kind of event has a sentence, in both languages, and no sentence is of nothing."""

from __future__ import annotations

import pytest

from portal.audit import words
from portal.audit.words import SENTENCES, is_said
from portal.languages import translations
from tests.portal import event_kinds

LONGEST = 70
"""Characters that a phone shows in two lines."""
ALL = {kind: str(said) for rows in SENTENCES.values() for kind, said in rows.items()}


def unsaid() -> list[str]:
    return sorted(kind for kind in event_kinds.kinds() if not is_said(kind))


def test_every_kind_of_event_has_a_sentence() -> None:
    assert unsaid() == []


def test_every_sentence_is_of_a_kind_of_event() -> None:
    assert sorted(ALL.keys() - event_kinds.kinds().keys()) == []


def test_control_a_kind_without_a_sentence_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {kind: said for kind, said in words._BY_KIND.items() if kind not in {"user.created", "group.deleted"}}
    monkeypatch.setattr(words, "_BY_KIND", kept)
    assert unsaid() == ["group.deleted", "user.created"]


def test_control_a_kind_that_cannot_be_followed_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_kinds, "ENUMS", {})
    with pytest.raises(event_kinds.Unknown, match="factor"):
        event_kinds.kinds()


@pytest.mark.parametrize("language", ["en", "de"])
def test_sentences_are_short_and_each_says_something_else(language: str) -> None:
    said = {kind: translations(language).gettext(english) for kind, english in ALL.items()}
    assert [text for text in said.values() if len(text) > LONGEST or "." in text] == []
    for rows in SENTENCES.values():
        assert len({said[kind] for kind in rows}) == len(rows)
