"""Negative controls: with one function replaced, each attack on the listener or the pump succeeds."""

from __future__ import annotations

import gevent
import pytest

from mailcore.model.actions import SetDeadline
from mailcore.net.drive import Pump
from mailcore.net.listener import ConnectionLimits, Listener
from tests.unit.net.echo import read, serving


def _slow_client_is_cut_off() -> bool:
    """Whether a client that says something now and then is ended all the same."""
    with serving(SetDeadline(0.6, total=True)) as served:
        client = served.connect()
        read(client, b"hello\r\n")
        try:
            for _ in range(50):
                client.sendall(b"x\r\n")
                read(client, b"x\r\n")
                gevent.sleep(0.02)
        except (AssertionError, OSError):
            return True
        return False


def test_deadline_that_any_input_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """N7: counted from the last input, a slow client stays for ever."""
    assert _slow_client_is_cut_off()
    set_deadline = Pump._set_deadline
    monkeypatch.setattr(
        Pump, "_set_deadline", lambda self, action: set_deadline(self, SetDeadline(action.seconds, total=False))
    )
    assert not _slow_client_is_cut_off()


def _third_of_an_address_is_refused() -> bool:
    with serving(listener={"limits": ConnectionLimits(total=9, per_address=2)}) as served:
        held = [served.connect() for _ in range(2)]
        for client in held:
            read(client, b"hello\r\n")
        return served.connect().recv(1000) == b"too many of you\r\n"


def test_addresses_not_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """N7: without the count by address one of them takes all there is."""
    assert _third_of_an_address_is_refused()
    monkeypatch.setattr(Listener, "_refusal", lambda *_: "")
    assert not _third_of_an_address_is_refused()


def _stranger_cannot_say_who_it_is() -> bool:
    with serving(listener={"proxy_from": []}) as served:
        client = served.connect()
        client.sendall(b"PROXY TCP4 203.0.113.7 10.0.0.1 40000 143\r\nx\r\n")
        read(client, b"hello\r\n")
        return served.connections[0].peer.address == "127.0.0.1"


def test_proxy_header_of_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """N15: believed from everybody, it is a way around every limit by address."""
    assert _stranger_cannot_say_who_it_is()
    monkeypatch.setattr(Listener, "_comes_through_proxy", lambda *_: True)
    assert not _stranger_cannot_say_who_it_is()
