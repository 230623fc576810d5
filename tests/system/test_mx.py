"""Outside to Postfix, rspamd, LMTP and IMAP, with Debian's packages and the configuration in `infra/`."""

from __future__ import annotations

import imaplib
import smtplib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pytest

from infra.devstack.stack import Stack
from mailcore.model.routing import Posters
from mailcore.services import MailServices
from mailcore.services.inbound.spam import Envelope, check, post
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.system import mx
from tests.system.servers import RunningServer, environment_of, start
from tests.waiting import wait_until

pytestmark = [*mx.NEEDS, pytest.mark.timeout(180)]
SENDER = "someone@outside.test"
REFUSED = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
"""rspamd's test pattern."""
ARRIVES_S = 30.0


@dataclass
class Front:
    """Everything from the port that the world sees to the mailboxes."""

    folder: Path
    stack: Stack
    services: MailServices
    server: RunningServer
    smtp_port: int
    rspamd: dict[str, int]

    def send(self, user: MadeUser, raw: bytes) -> None:
        with smtplib.SMTP(mx.HOST, self.smtp_port, local_hostname="client.outside.test", timeout=30) as client:
            client.sendmail(SENDER, [user.address], raw)

    def mailbox(self, user: MadeUser, name: str) -> list[bytes]:
        with imaplib.IMAP4(mx.HOST, self.server.port("imap")) as client:
            client.login(user.address, user.password)
            client.select(name, readonly=True)
            _, found = client.uid("FETCH", "1:*", "(BODY.PEEK[])")
            return [part[1] for part in found if isinstance(part, tuple)]

    def wait_for(self, user: MadeUser, name: str, count: int = 1) -> list[bytes]:
        log = self.folder / "postfix.log"
        wait_until(lambda: len(self.mailbox(user, name)) >= count, ARRIVES_S, lambda: log.read_text()[-4000:])
        return self.mailbox(user, name)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with ExitStack() as everything:
        folder = everything.enter_context(mx.public_folder())
        stack = Stack(tmp_path_factory.mktemp("mx") / "stack", databases=("main", "redis"), durable=False)
        everything.callback(stack.discard)
        stack.start()
        services = make_services(stack.directory_uri, stack.shards, stack.redis_url)
        everything.callback(services.close)
        names = ["lmtp", "lookup", "imap"]
        environment = environment_of(stack.directory_uri, stack.redis_url, names, EIDER_VERDICT_PEERS="127.0.0.0/8")
        server = everything.enter_context(start(names, environment, tmp_path_factory.mktemp("mx-log")))
        rspamd = everything.enter_context(mx.rspamd(folder, redis=stack.redis_url.split("/")[2]))
        smtp_port = everything.enter_context(mx.postfix(folder, settings_for(server, rspamd)))
        yield Front(folder, stack, services, server, smtp_port, rspamd)


def settings_for(server: RunningServer, rspamd: dict[str, int]) -> dict[str, str]:
    return {
        "eider_lmtp": f"{mx.HOST}:{server.port('lmtp')}",
        "eider_lookup": f"{mx.HOST}:{server.port('lookup')}",
        "rspamd": f"{mx.HOST}:{rspamd['proxy']}",
        "smtpd_error_sleep_time": "0",
    }


def message(subject: str, text: str) -> bytes:
    built = EmailMessage()
    built["From"], built["To"], built["Subject"] = f"Someone <{SENDER}>", "you@here.test", subject
    built["Date"], built["Message-ID"] = "Wed, 25 Nov 2026 10:00:00 +0000", f"<{time.monotonic_ns()}@outside.test>"
    built.set_content(text)
    return built.as_bytes().replace(b"\n", b"\r\n")


def test_mail_arrives_with_the_verdict_of_our_filter_and_nobody_elses(front: Front) -> None:
    """Attack M7: of what the sender wrote in the filter's name nothing is left."""
    user = make_user(front.services)
    forged = (
        b"X-Spam-Status: No, score=-99.00\r\nX-Spam-Flag: NO\r\nX-Rspamd-Queue-Id: guess\r\n"
        b"Authentication-Results: mx.test; dkim=pass header.d=bank.test\r\n"
    )
    front.send(user, forged + message("Hello", "Ordinary words.\n"))
    [raw] = front.wait_for(user, "INBOX")
    header = BytesParser().parsebytes(raw)
    assert raw.count(b"X-Rspamd-Queue-Id:") == raw.count(b"X-Spam-Status:") == 1
    assert f"ESMTP id {header['X-Rspamd-Queue-Id']}" in raw.decode()
    assert b"-99.00" not in raw
    assert b"bank.test" not in raw
    assert header["Delivered-To"] == user.address
    assert header["Return-Path"] == f"<{SENDER}>"
    assert header["Authentication-Results"].split(";")[0] == mx.HOSTNAME


def test_what_is_surely_spam_is_refused(front: Front) -> None:
    user = make_user(front.services)
    with pytest.raises(smtplib.SMTPDataError) as refused:
        front.send(user, message("Buy", REFUSED))
    assert refused.value.smtp_code == 554
    mx.wait_empty(front.folder)
    assert front.mailbox(user, "INBOX") == []


def test_spam_goes_to_junk_as_the_users_level_has_it(front: Front) -> None:
    strict, careless = make_user(front.services), make_user(front.services)
    front.services.users.set_settings(OPERATOR, careless.user_id, {"spam_level": 100})
    raw = b"X-Spam-Status: No, score=-99.00\r\n" + message(f"An {mx.SPAM_WORD} offer", "Buy less.\n")
    for user in (strict, careless):
        front.send(user, raw)
    assert b"X-Spam-Status: Yes, score=" in front.wait_for(strict, "Junk")[0]
    front.wait_for(careless, "INBOX")
    assert front.mailbox(strict, "INBOX") == front.mailbox(careless, "Junk") == []


def test_nobody_unknown_is_accepted_for(front: Front) -> None:
    """M10, M12: refused at RCPT, so that nobody else is sent a report; who goes on guessing is cut off."""
    user = make_user(front.services)
    domain = user.address.partition("@")[2]
    with smtplib.SMTP(mx.HOST, front.smtp_port, timeout=30) as client:
        client.ehlo("client.outside.test")
        client.mail(SENDER)
        assert client.rcpt(f"nobody@{domain}") == (550, _unknown(f"nobody@{domain}"))
        assert client.rcpt("someone@elsewhere.test")[0] == 554
        assert client.rcpt(f"sub@sub.{domain}")[0] == 554
        assert client.rcpt(f"{user.address.replace('@', '+tag@')}")[0] == 250
        assert client.rcpt(f"postmaster@{domain}")[0] == 250
        codes = []
        with pytest.raises(smtplib.SMTPServerDisconnected):
            for number in range(100):
                codes.append(client.rcpt(f"guess{number}@{domain}")[0])
    assert len(codes) <= 20


def test_a_group_refuses_strangers_while_they_are_there(front: Front) -> None:
    """M10: no report goes to whomever the envelope names."""
    user = make_user(front.services)
    group = f"all@{user.address.partition('@')[2]}"
    front.services.groups.create(OPERATOR, user.tenant_id, group, [user.address, SENDER], posters=Posters.MEMBERS)
    with smtplib.SMTP(mx.HOST, front.smtp_port, timeout=30) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.sendmail("stranger@outside.test", [group], message("Hello", "x\n"))
        assert b"5.7.2" in refused.value.recipients[group][1]
        client.sendmail(SENDER, [group], message("Hello", "x\n"))
    front.wait_for(user, "INBOX")


def test_addresses_beyond_ascii_get_mail(front: Front) -> None:
    """RFC 6531, from the outside to the mailbox; the look-ups are in UTF-8."""
    user = make_user(front.services)
    address = f"jörg.müller@{user.address.partition('@')[2]}"
    front.services.addresses.create(OPERATOR, user.user_id, address)
    with smtplib.SMTP(mx.HOST, front.smtp_port, local_hostname="client.outside.test", timeout=30) as client:
        client.sendmail("jürgen@outside.test", [address], message("Hello", "x\n"), ["SMTPUTF8"])
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail(SENDER, [address.replace("ö", "ø")], message("Hello", "x\n"), ["SMTPUTF8"])
    [raw] = front.wait_for(user, "INBOX")
    assert f"Delivered-To: {address}\r\n".encode() in raw
    assert "Return-Path: <jürgen@outside.test>\r\n".encode() in raw


def test_what_is_too_large_is_refused_before_it_is_sent(front: Front) -> None:
    user = make_user(front.services)
    with smtplib.SMTP(mx.HOST, front.smtp_port, timeout=30) as client:
        client.ehlo("client.outside.test")
        code, _ = client.mail(SENDER, [f"SIZE={(64 << 20) + 1}"])
        assert code == 552
        assert client.mail(SENDER, [f"SIZE={64 << 20}"])[0] == 250
        assert client.rcpt(user.address)[0] == 250


def _unknown(address: str) -> bytes:
    return f"5.1.1 <{address}>: Recipient address rejected: Nobody receives mail at this address".encode()


VARIANTS = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CR.CR": b"\r.\r",
    "CR.CRLF": b"\r.\r\n",
    "CRLF.CR": b"\r\n.\r",
    "NUL": b"\r\n\x00.\r\n",
    "dot-NUL": b"\r\n.\x00\r\n",
}
EVIL = b"MAIL FROM:<evil@outside.test>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"


def smuggle(front: Front, smtp_port: int, user: MadeUser, variant: bytes, *, cut: bool) -> None:
    """Send one message that hides another behind something like an end; however it is answered."""
    with socket.create_connection((mx.HOST, smtp_port), timeout=30) as client:
        lines = client.makefile("rb")
        lines.readline()
        for command in (b"HELO client.outside.test", b"MAIL FROM:<%s>" % SENDER.encode(),
                        b"RCPT TO:<%s>" % user.address.encode(), b"DATA"):  # fmt: skip
            client.sendall(command + b"\r\n")
            assert lines.readline()[:1] in b"23", command
        content = b"Subject: outer\r\n\r\nfirst" + variant + EVIL % user.address.encode()
        middle = content.index(variant) + len(variant) // 2 + 1 if cut else len(content)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in filter(None, (content[:middle], content[middle:])):
            client.sendall(part)
        client.sendall(b"QUIT\r\n")
        lines.read()


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_nothing_is_smuggled_through_postfix(front: Front, cut: bool) -> None:
    """Attack N3: whatever looks like an end but is none, what comes out is one message or none."""
    user = make_user(front.services)
    for variant in VARIANTS.values():
        smuggle(front, front.smtp_port, user, variant, cut=cut)
    mx.wait_empty(front.folder)
    found = front.mailbox(user, "INBOX")
    assert found
    assert {BytesParser().parsebytes(raw)["Subject"] for raw in found} == {"outer"}
    assert all(b"Subject: smuggled" in raw for raw in found)


def test_a_front_that_takes_any_line_end_would_be_seen(front: Front) -> None:
    """Control: Postfix without the setting that forbids it."""
    user = make_user(front.services)
    with mx.public_folder() as folder:
        settings = settings_for(front.server, front.rspamd) | {"smtpd_forbid_bare_newline": "no", "smtpd_milters": "",
                                                               "smtpd_forbid_unauth_pipelining": "no"}  # fmt: skip
        settings |= {"smtpd_data_restrictions": ""}
        with mx.postfix(folder, settings) as port:
            smuggle(front, port, user, VARIANTS["LF.CRLF"], cut=False)
            found = front.wait_for(user, "INBOX", 2)
    assert sorted(BytesParser().parsebytes(raw)["Subject"] for raw in found) == ["outer", "smuggled"]


def test_the_filter_is_asked_over_http_and_does_without_the_dns(front: Front) -> None:
    """Fault F14: as nobody answers its questions it says so, and the message is none the worse for it."""
    url = f"http://{mx.HOST}:{front.rspamd['normal']}"
    envelope = Envelope(mx.HOST, "4XyZ", "192.0.2.7", "client.outside.test", SENDER, ("you@here.test",))
    fine, bad = (
        check(url, message(subject, "Ordinary words.\n"), envelope) for subject in ("Hello", f"An {mx.SPAM_WORD} offer")
    )
    assert (fine.is_spam, fine.action) == (False, "no action")
    assert {"MIME_GOOD", "R_SPF_DNSFAIL"} <= set(fine.symbols)  # of DMARC it may say that there is none
    assert (bad.is_spam, bad.action) == (True, "add header")


def test_the_filter_learns_what_users_report(front: Front) -> None:
    url = f"http://{mx.HOST}:{front.rspamd['controller']}"
    raw = message("Offer", " ".join(f"word{number} of an offer" for number in range(60)) + "\n")
    assert post(url, "/learnspam", raw, [("Password", "wrong")]).is_fault
    assert post(url, "/learnspam", raw, [("Password", "learn")]).is_success
    assert post(url, "/learnspam", raw, [("Password", "learn")]).is_success  # a report may come twice
    assert post(url, "/learnham", raw, [("Password", "learn")]).is_success


def test_while_the_store_is_away_senders_are_told_to_come_back(front: Front) -> None:
    """P12: nobody is said to be unknown."""
    user = make_user(front.services)
    domain = user.address.partition("@")[2]
    front.send(user, message("Before", "x"))
    front.wait_for(user, "INBOX")
    front.stack.pause("main")
    try:
        assert answer_to_rcpt(front, f"nobody@{domain}") == 451
    finally:
        front.stack.resume("main")


def answer_to_rcpt(front: Front, address: str) -> int:
    with smtplib.SMTP(mx.HOST, front.smtp_port, timeout=60) as client:
        client.ehlo("client.outside.test")
        client.mail(SENDER)
        return client.rcpt(address)[0]
