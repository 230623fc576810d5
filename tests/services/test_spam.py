"""Whose word on spam counts, and that nobody's silence stops mail."""

from __future__ import annotations

import socket

import pytest

from mailcore.model.verdict import Verdict
from mailcore.services.inbound import spam
from mailcore.services.inbound.spam import NOT_LOOKED_AT, Envelope, Screened, Spam
from tests.builders import make_settings
from tests.stubs.rspamd import rspamd

MESSAGE = b"From: a@example.org\r\nSubject: hi\r\n\r\nbody\r\n"
FORGED = b"X-Spam-Status: No, score=-99\r\nAuthentication-Results: mx.eider.test; dkim=pass\r\n"
STATUS = b"X-Spam-Status: Yes, score=8.00\r\n"
OF_HOP = b"X-Rspamd-Queue-Id: 4XyZ\r\n"
HOP = Envelope("10.1.2.3", "4XyZ", "192.0.2.7", "mail.example.org", "a@example.org", ("b@eider.test", "c@eider.test"))
DIRECTORY = "mongodb://127.0.0.1:1/none"


def make(**variables: str) -> Spam:
    return Spam(make_settings(DIRECTORY, EIDER_HOSTNAME="mx.eider.test", **variables))


def test_a_listed_peers_verdict_counts_where_it_names_the_peers_queue_id() -> None:
    listed = make(EIDER_VERDICT_PEERS="10.0.0.0/8")
    raw = STATUS + OF_HOP + MESSAGE
    assert listed.screen(raw, HOP) == Screened(raw, Verdict(8.0, True))
    for envelope in (
        Envelope("11.1.2.3", "4XyZ"),
        Envelope("10.1.2.3", "other"),
        Envelope("10.1.2.3"),
        Envelope("not an address", "4XyZ"),
    ):
        assert listed.screen(raw, envelope) == Screened(MESSAGE)
    assert make().screen(raw, HOP) == Screened(MESSAGE)


def test_what_a_sender_forges_is_gone_though_the_peer_is_listed() -> None:
    """Attack M7: the filter was away, so its agent handed on what the sender wrote."""
    listed = make(EIDER_VERDICT_PEERS="10.0.0.0/8")
    for forged in (FORGED, OF_HOP.replace(b"4XyZ", b"guess") + FORGED, OF_HOP + OF_HOP + FORGED):
        assert listed.screen(forged + MESSAGE, HOP) == Screened(MESSAGE)


def test_a_forged_verdict_that_is_believed_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: were a listed peer's fields believed whatever they carry."""
    monkeypatch.setattr(spam, "is_of_hop", lambda *_: True)
    with pytest.raises(AssertionError):
        test_what_a_sender_forges_is_gone_though_the_peer_is_listed()


def test_rspamd_is_asked_with_what_is_known_and_without_what_was_forged() -> None:
    with rspamd() as filter_:
        filter_.verdict |= {"action": "add header", "score": 7.5}
        found = make(EIDER_RSPAMD_URL=filter_.url).screen(FORGED + MESSAGE, HOP)
    assert found == Screened(
        MESSAGE, Verdict(7.5, True, "add header", ("MIME_GOOD",)), b"X-Spam-Status: Yes, score=7.50\r\n"
    )
    [asked] = filter_.asked
    assert (asked.path, asked.body) == ("/checkv2", MESSAGE)
    for name, values in {
        "From": ["a@example.org"],
        "Rcpt": ["b@eider.test", "c@eider.test"],
        "IP": ["192.0.2.7"],
        "Helo": ["mail.example.org"],
        "Queue-Id": ["4XyZ"],
    }.items():
        assert asked.header(name) == values


def test_addresses_beyond_ascii_and_many_recipients() -> None:
    with rspamd() as filter_:
        envelope = Envelope("10.1.2.3", reverse_path="jörg@müller.test", forward_paths=("x@y.test",) * 1000)
        assert make(EIDER_RSPAMD_URL=filter_.url).screen(MESSAGE, envelope).verdict is not None
    assert len(filter_.asked[0].header("Rcpt")) == 50


AWAY = [
    pytest.param({"status": 500}, id="status"),
    pytest.param({"raw": b""}, id="empty"),
    pytest.param({"raw": b"<html>"}, id="no-json"),
    pytest.param({"raw": b'{"action": "no action"}'}, id="no-score"),
    pytest.param({"raw": b'{"action": [], "score": {}}'}, id="wrong-types"),
    pytest.param({"raw": b"[]"}, id="list"),
    pytest.param({"raw": b"x" * (spam.MAX_ANSWER_BYTES + 1)}, id="too-long"),
]


@pytest.mark.parametrize("answer", AWAY)
def test_a_filter_that_talks_nonsense_stops_no_mail(answer: dict[str, object]) -> None:
    with rspamd() as filter_:
        for name, value in answer.items():
            setattr(filter_, name, value)
        assert make(EIDER_RSPAMD_URL=filter_.url).screen(FORGED + MESSAGE, HOP) == Screened(
            MESSAGE, None, NOT_LOOKED_AT
        )


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://127.0.0.1:99999", "http://[::1:3", "https://127.0.0.1:1"]
)
def test_a_filter_that_is_not_there_stops_no_mail(url: str) -> None:
    assert make(EIDER_RSPAMD_URL=url).screen(MESSAGE, HOP) == Screened(MESSAGE, None, NOT_LOOKED_AT)


def test_a_filter_that_is_silent_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fault nobody asks for a while; then one does."""
    monkeypatch.setattr(spam, "TIMEOUT_S", 0.2)
    now = [0.0]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0.0)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        screening = Spam(make_settings(DIRECTORY, EIDER_RSPAMD_URL=url), clock=lambda: now[0])
        for now[0], connections in ((0.0, 1), (1.0, 0), (spam.PAUSE_S + 1, 1)):
            assert screening.screen(MESSAGE, HOP).trace == NOT_LOOKED_AT
            assert _waiting(silent) == connections


def _waiting(server: socket.socket) -> int:
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_mail_that_waits_for_the_filter_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: were the fault told to whoever delivers."""

    def refuse(*_: object) -> Verdict:
        raise OSError("away")

    monkeypatch.setattr(spam, "check", refuse)
    with pytest.raises(OSError, match="away"):
        test_a_filter_that_is_not_there_stops_no_mail("http://127.0.0.1:1")
