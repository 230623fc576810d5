"""Programs that a message goes through together: attack M13 by many small rules instead of one large script."""

from __future__ import annotations

import pytest

from mailcore.model.limits import SieveLimits
from mailcore.services.inbound.programs import Origin, Program, Programs, Ruling
from mailcore.sieve import Environment, Keep, Meter, Transaction, compile_script
from tests.unit.sieve.scripts import NOW, message

RULE = compile_script('require "body"; if body :matches "*' + "z" * 2000 + '*" { discard; }')
RULES = Programs(tuple(Program(Origin.USER, str(number), RULE) for number in range(50)))
VIEW = message("Subject: x", body="ab" * 20_000)


def ruling() -> Ruling:
    """What fifty rules, each of them a tenth of what one script may cost, make of one message."""
    return RULES.run(VIEW, Transaction("a@b.example", "c@d.example"), Environment(now=NOW))


def test_all_rules_together_cost_what_one_script_may() -> None:
    found = ruling()
    assert found.actions == (Keep(),)
    assert 0 < len(found.faults) < 50
    assert "steps" in found.faults[-1].what
    assert found.steps < 2 * SieveLimits().steps


def test_rules_that_each_begin_anew_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr("mailcore.services.inbound.programs.Meter", lambda limits: Meter(SieveLimits(steps=1 << 40)))
    assert not ruling().faults
