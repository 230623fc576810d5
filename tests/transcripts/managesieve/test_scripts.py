"""Looking after scripts (RFC 5804 §2.5 to §2.13), and what hostile clients send (N3, N5, N11)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailcore.errors import StoreUnavailable
from tests.builders import OPERATOR
from tests.services.inbound_mail import count, mail, queued, take
from tests.transcripts.managesieve.dialogue import ManageSieve, literal

VACATION = '#comment\r\nrequire ["vacation"];\r\nvacation "away";\r\n'


def test_the_life_of_a_script(sieve: ManageSieve) -> None:
    """The commands of RFC 5804 §2, one after the other."""
    sieve.sign_in()
    sieve.transcript("""
        C: LISTSCRIPTS
        S: OK "Those are all"
        C: HAVESPACE "myscript" 65536
        S: OK "There is room"
        C: HAVESPACE "foobar" 435345
        S: NO (QUOTA/MAXSIZE) "That is larger than a script may be"
        C: PUTSCRIPT "summer" "keep;"
        S: OK "Stored"
        C: PUTSCRIPT "vacation" "discard;"
        S: OK "Stored"
        C: LISTSCRIPTS
        S: "summer"
        S: "vacation"
        S: OK "Those are all"
        C: SETACTIVE "vacation"
        S: OK "It is active now"
        C: SETACTIVE "baz"
        S: NO (NONEXISTENT) "There is no script of that name"
        C: LISTSCRIPTS
        S: "summer"
        S: "vacation" ACTIVE
        S: OK "Those are all"
        C: DELETESCRIPT "vacation"
        S: NO (ACTIVE) "The active script cannot be deleted, deactivate it first"
        C: RENAMESCRIPT "vacation" "summer"
        S: NO (ALREADYEXISTS) "There is a script of that name"
        C: RENAMESCRIPT "vacation" "winter"
        S: OK "Renamed"
        C: RENAMESCRIPT "vacation" "spring"
        S: NO (NONEXISTENT) "There is no script of that name"
        C: GETSCRIPT "winter"
        S: {8}
        S: discard;
        S: OK "This is it"
        C: GETSCRIPT "vacation"
        S: NO (NONEXISTENT) "There is no script of that name"
        C: SETACTIVE ""
        S: OK "None is active now"
        C: DELETESCRIPT "winter"
        S: OK "Deleted"
        C: LISTSCRIPTS
        S: "summer"
        S: OK "Those are all"
        C: NOOP
        S: OK "Done"
        C: NOOP "STARTTLS-SYNC-42"
        S: OK (TAG "STARTTLS-SYNC-42") "Done"
        C: LOGOUT
        S: OK "Goodbye"
        """)
    assert sieve.clients[""].is_closed


def test_a_script_as_a_literal_comes_back_to_the_octet(sieve: ManageSieve) -> None:
    """§4: `{n+}`, with line ends and quotes within; a literal may also be the name."""
    client = sieve.sign_in()
    script = VACATION + '# "quoted" \\ ünicode\r\n'
    assert client.ask(f"PUTSCRIPT {literal('Urlaub ☀')} {literal(script)}\r\n".encode()) == b'OK "Stored"\r\n'
    octets = script.encode()
    assert client.ask('GETSCRIPT "Urlaub ☀"\r\n'.encode()) == (
        b'{%d}\r\n%s\r\nOK "This is it"\r\n' % (len(octets), octets)
    )
    assert client.ask(b"LISTSCRIPTS\r\n") == '"Urlaub ☀"\r\nOK "Those are all"\r\n'.encode()


def test_the_trail_says_who_changed_what_by_which_door(sieve: ManageSieve) -> None:
    client = sieve.sign_in()
    client.run('PUTSCRIPT "a" "keep;"')
    client.run('SETACTIVE "a"')
    events = sieve.services.placement.home(sieve.user.user_id).shard.hot["events"]
    told = list(events.find({"user": sieve.user.user_id, "kind": {"$regex": "^script"}}).sort("recorded_at", 1))
    assert [(each["kind"], each["wanted"]["script"]) for each in told] == [
        ("script.stored", "a"),
        ("script.activated", "a"),
    ]
    for each in told:
        assert (each["actor"]["door"], each["actor"]["identity"]) == ("managesieve", sieve.user.address)
        assert each["actor"]["remote_address"] == "192.0.2.1"


def test_a_script_that_cannot_run_is_not_stored_and_its_author_told_where(sieve: ManageSieve) -> None:
    client = sieve.sign_in()
    for verb in ('PUTSCRIPT "a" ', "CHECKSCRIPT "):
        answer = client.ask(f"{verb}{literal('keep;' + chr(13) + chr(10) + 'fileinto 7;')}\r\n".encode())
        assert answer.startswith(b'NO "line 2, column 1: ')
    assert client.ask(b'CHECKSCRIPT "keep;"\r\n') == b'OK "This script is right"\r\n'
    assert client.ask(b"LISTSCRIPTS\r\n") == b'OK "Those are all"\r\n'


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ('PUTSCRIPT "" "keep;"', 'NO "a script\'s name has 1 to 512 bytes"'),
        ('PUTSCRIPT "a"', 'NO "A name and a script expected"'),
        ('PUTSCRIPT "a" 7', 'NO "A name and a script expected"'),
        ("PUTSCRIPT a b", 'NO "Strings and numbers are expected behind the command"'),
        ('SETACTIVE "a" "b"', 'NO "One string expected"'),
        ('HAVESPACE "a" -1', 'NO "Not a command"'),
        ('HAVESPACE "a" 4294967296', 'NO "A number is too large"'),
        ('HAVESPACE "a" "1"', 'NO "A name and a number expected"'),
        ("LISTSCRIPTS 1", 'NO "This command takes no argument"'),
        ('GETSCRIPT "open', 'NO "Not a command"'),
        ('GETSCRIPT "a""b"', 'NO "A space is missing"'),
        ('GETSCRIPT "\\x"', 'NO "Not a command"'),
        ("", 'NO "Not a command"'),
        ("   ", 'NO "Not a command"'),
    ],
)
def test_malformed_commands(sieve: ManageSieve, command: str, expected: str) -> None:
    sieve.sign_in()
    sieve.transcript(f"C: {command}\nS: {expected}")


def test_names_that_are_no_text(sieve: ManageSieve) -> None:
    client = sieve.sign_in()
    assert client.ask(b'GETSCRIPT "\xff\xfe"\r\n') == b'NO "A name is UTF-8"\r\n'


def test_input_in_any_pieces_is_the_same(sieve: ManageSieve) -> None:
    """N4: one octet at a time, or all at once with more behind."""
    whole = f'PUTSCRIPT "a" {literal(VACATION)}\r\nSETACTIVE "a"\r\nLISTSCRIPTS\r\n'.encode()
    expected = b'OK "Stored"\r\nOK "It is active now"\r\n"a" ACTIVE\r\nOK "Those are all"\r\n'
    assert sieve.sign_in().ask(whole) == expected
    client = sieve.sign_in()
    for octet in whole:
        client.send(bytes([octet]))
    assert client.take() == expected


def test_a_literal_that_is_too_large_takes_no_memory_and_is_answered(sieve: ManageSieve) -> None:
    """N5: before signing in and after, no octet of it is kept; what follows is a command again."""
    for client, allowed in ((sieve.connect(), 8 * 1024), (sieve.sign_in(), 64 * 1024)):
        size = allowed * 20
        client.take()
        client.send(b"CHECKSCRIPT {%d+}\r\n" % size)
        for _ in range(20):
            client.send(b"x" * allowed)
            assert client.connection._reader.held_bytes <= allowed  # type: ignore[attr-defined]
        client.send(b"\r\nNOOP\r\n")
        assert client.take() == (b'NO (QUOTA/MAXSIZE) "That is larger than a script may be"\r\nOK "Done"\r\n')


@pytest.mark.parametrize(
    "command",
    [
        b"CHECKSCRIPT {9999999999+}\r\n",
        b"CHECKSCRIPT {99999999999999999999+}\r\n",
        b"CHECKSCRIPT {10}\r\n",
        b"CHECKSCRIPT" + b" {1+}\r\nx" * 20 + b"\r\n",
    ],
    ids=["huge", "beyond any number", "synchronizing", "many"],
)
def test_a_literal_that_nobody_waits_for_ends_the_connection(sieve: ManageSieve, command: bytes) -> None:
    """N3, N5: what cannot be told from commands is never read as one."""
    client = sieve.sign_in()
    assert client.ask(command + b'DELETESCRIPT "a"\r\n') == b'BYE "Cannot tell where the next command begins"\r\n'
    assert client.is_closed


def test_octets_of_a_literal_are_no_commands_however_its_size_is_written(sieve: ManageSieve) -> None:
    """N3: whoever reads the same bytes reads the same commands."""
    client = sieve.sign_in()
    inner = b'DELETESCRIPT "a"\r\n'
    assert client.ask(b'PUTSCRIPT "x" {%020d+}\r\n%b\r\nNOOP\r\n' % (len(inner), inner)).count(b"\r\n") == 2
    assert client.run("LISTSCRIPTS") == b'OK "Those are all"\r\n'


def test_a_line_that_is_too_long_takes_no_memory(sieve: ManageSieve) -> None:
    """N5; also where its end announces a literal, whose octets are no command."""
    client = sieve.sign_in()
    for _ in range(100):
        client.send(b"x" * 65536)
        assert client.connection._reader.held_bytes < 100_000  # type: ignore[attr-defined]
    assert client.ask(b' {20+}\r\nDELETESCRIPT "a"...\r\nNOOP\r\n') == b'NO "Line is too long"\r\nOK "Done"\r\n'


def test_too_many_scripts(sieve: ManageSieve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sieve.services.scripts, "_limits", replace(sieve.services.settings.limits, scripts=1))
    sieve.sign_in()
    sieve.transcript("""
        C: PUTSCRIPT "a" "keep;"
        S: OK "Stored"
        C: PUTSCRIPT "b" "keep;"
        S: NO (QUOTA/MAXSCRIPTS) "There are as many scripts as may be"
        C: HAVESPACE "b" 1
        S: NO (QUOTA/MAXSCRIPTS) "There are as many scripts as may be"
        C: PUTSCRIPT "a" "stop;"
        S: OK "Stored"
        """)


def test_trouble_of_ours_says_so_and_nothing_more(sieve: ManageSieve, monkeypatch: pytest.MonkeyPatch) -> None:
    """P12, N11."""
    client = sieve.sign_in()

    def away(*_: object) -> None:
        raise StoreUnavailable("secret host 10.0.0.1")

    def broken(*_: object) -> None:
        raise RuntimeError("secret state")

    monkeypatch.setattr(type(sieve.services.scripts), "list_of", away)
    assert client.ask(b"LISTSCRIPTS\r\n") == b'NO (TRYLATER) "Try again later"\r\n'
    monkeypatch.setattr(type(sieve.services.scripts), "list_of", broken)
    assert client.ask(b"LISTSCRIPTS\r\n") == b'NO "Internal error, it was logged"\r\n'


def test_a_redirect_outside_waits_until_it_is_confirmed(sieve: ManageSieve) -> None:
    services, user = sieve.services, sieve.user
    client = sieve.sign_in()
    client.run('PUTSCRIPT "out" "redirect \\"home@elsewhere.test\\";"')
    client.run('SETACTIVE "out"')
    assert take(services, mail(user.address), user.address) == [None]
    assert (count(services, user), queued(services, user)) == (1, [])
    [ask] = services.users.get(user.user_id).onward.asks
    services.targets.confirm(OPERATOR, services.targets.find(services.targets.token(user.user_id, ask)))
    assert take(services, mail(user.address), user.address) == [None]
    assert (count(services, user), len(queued(services, user))) == (1, 1)
