"""How whoever acts with a token is named in trails: text from outside, shown beside other text."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from mailcore.api.call import actor_of
from mailcore.model.actor import ActorKind, Door
from mailcore.model.roles import Role
from mailcore.model.token import MAX_SHOWN, PLATFORM, Token

ID = ObjectId("6b09311aaa81019c1fdf507f")


def token(description: str) -> Token:
    return Token(ID, PLATFORM, Role.ROOT, description, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("description", "identity"),
    [
        ("import script", f"token {ID} “import script”"),
        ("Übernahme 日本", f"token {ID} “Übernahme 日本”"),
        ("a\u202egnp.exe\u2066\u200f\x1b[31m\r\n\x00\u2028b", f"token {ID} “agnp.exe[31mb”"),
        ("x” ann@example.org “", f"token {ID} “x ann@example.org”"),
        ("y" * 200, f"token {ID} “{'y' * (MAX_SHOWN - 1)}…”"),
        ("\u200b\u202e", f"token {ID}"),
    ],
)
def test_a_token_is_named_by_its_id_and_what_it_is_for(description: str, identity: str) -> None:
    actor = actor_of(token(description), "192.0.2.1", "r", dry_run=False)
    assert (actor.kind, actor.door, actor.identity) == (ActorKind.OPERATOR, Door.API, identity)


@given(st.text(max_size=300))
def test_any_description_makes_one_short_line(description: str) -> None:
    found = token(description).identity
    assert found.startswith(f"token {ID}")
    assert found.isprintable()
    assert len(found) <= len(f"token {ID} “”") + MAX_SHOWN
    assert found.count("”") == found.count("“") <= 1
