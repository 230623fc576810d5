"""How many connections and how much traffic one user may have, shared with IMAP."""

from __future__ import annotations

from tests.builders import OPERATOR
from tests.transcripts.pop3.dialogue import Pop3


def test_connections_of_both_protocols_count_together(pop3: Pop3) -> None:
    """Without Redis a process allows half of four."""
    pop3.services.users.set_limit(OPERATOR, pop3.user.user_id, "connections", 4)
    pop3.sign_in("1")
    other = pop3.imap()
    client = pop3.connect("2")
    client.ask(f"USER {pop3.user.address}\r\n".encode())
    refusal = client.ask(f"PASS {pop3.user.password}\r\n".encode())
    assert refusal == b"-ERR [SYS/TEMP] Too many connections, try again later\r\n"
    other.close()
    client.ask(f"USER {pop3.user.address}\r\n".encode())
    assert client.ask(f"PASS {pop3.user.password}\r\n".encode()).startswith(b"+OK")


def test_who_has_fetched_enough_for_today_is_refused(pop3: Pop3) -> None:
    """Without Redis a process allows a fifth of what the user has."""
    pop3.append(b"Subject: x\r\n\r\n" + b"x" * 3000)
    pop3.services.users.set_limit(OPERATOR, pop3.user.user_id, "pop3_download_bytes_per_day", 10_000)
    client = pop3.sign_in()
    assert client.ask(b"RETR 1\r\n").startswith(b"+OK")
    assert client.ask(b"RETR 1\r\n") == b"-ERR [SYS/TEMP] Too much for today, try again tomorrow\r\n"
    assert client.ask(b"TOP 1 99999999\r\n") == b"-ERR [SYS/TEMP] Too much for today, try again tomorrow\r\n"
    assert client.ask(b"STAT\r\n").startswith(b"+OK 1 ")


def test_tops_of_messages_count_as_well(pop3: Pop3) -> None:
    pop3.append(b"Subject: x\r\n\r\n" + b"x" * 3000)
    pop3.services.users.set_limit(OPERATOR, pop3.user.user_id, "pop3_download_bytes_per_day", 10_000)
    client = pop3.sign_in()
    for _ in range(5):
        assert client.ask(b"TOP 1 0\r\n").startswith(b"+OK")
    assert client.ask(b"TOP 1 1\r\n").startswith(b"+OK")
    assert client.ask(b"RETR 1\r\n").startswith(b"-ERR [SYS/TEMP]")
