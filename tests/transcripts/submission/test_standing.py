"""A tenant whose sending is stopped: MAIL is refused, and so is a message that was begun before."""

from __future__ import annotations

import pytest

from mailcore.model.tenant import Standing
from mailcore.services.outbound import submission
from tests.builders import OPERATOR
from tests.transcripts.submission.conftest import Client
from tests.transcripts.submission.test_sending import message

STOPPED = "550 5.7.1 Sending is stopped..."


@pytest.mark.parametrize("standing", [Standing.NO_SENDING, Standing.READ_ONLY])
def test_nothing_is_sent(client: Client, standing: Standing) -> None:
    client.services.tenants.set_standing(OPERATOR, client.user.tenant_id, standing)
    client.say(f"MAIL FROM:<{client.user.address}>\r\n", STOPPED)
    assert not client.queued()


def test_what_was_begun_is_not_sent_either(client: Client) -> None:
    client.ask(f"MAIL FROM:<{client.user.address}>\r\n")
    client.ask("RCPT TO:<bob@else.test>\r\n")
    client.ask("DATA\r\n")
    client.services.tenants.set_standing(OPERATOR, client.user.tenant_id, Standing.NO_SENDING)
    client.say(message(client) + b".\r\n", STOPPED)
    assert not client.queued()


def test_a_service_that_does_not_look_would_be_seen(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "check_sending", lambda _tenant: None)
    client.services.tenants.set_standing(OPERATOR, client.user.tenant_id, Standing.NO_SENDING)
    assert client.send(message(client)).startswith("250 ")
