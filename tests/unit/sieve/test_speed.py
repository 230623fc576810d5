"""What a usual script costs; the figures of docs/performance.md come from here."""

from __future__ import annotations

import time

import pytest

from mailcore.sieve import Environment, MessageView, Transaction, compile_script
from tests.unit.sieve.scripts import NOW, message

TEN_RULES = """
require ["fileinto", "imap4flags", "envelope", "regex", "subaddress"];
if header :contains "list-id" "team.example.com" { fileinto "Lists/Team"; stop; }
if address :is "from" ["boss@example.com", "chief@example.com"] { addflag "\\\\Flagged"; }
if header :contains "subject" ["[JIRA]", "[GitHub]"] { fileinto "Notifications"; stop; }
if address :domain :is ["to", "cc"] "lists.example.com" { fileinto "Lists"; stop; }
if header :matches "subject" "*invoice*" { addflag "$Invoice"; }
if envelope :domain :is "from" "bounce.example.com" { discard; stop; }
if header :regex "subject" "^(re|aw|fwd): .*(order|ticket) #?[0-9]+" { fileinto "Orders"; stop; }
if size :over 10M { fileinto "Large"; stop; }
if allof (header :contains "x-spam-flag" "YES", not address :localpart "to" "postmaster") { fileinto "Junk"; stop; }
if address :detail "to" "shop" { fileinto "Shop"; }
"""
VIEW = message(
    "Return-Path: <bob@example.net>",
    "Received: from mx.example.net (mx.example.net [192.0.2.1]) by mail.example.org; Wed, 17 Jan 2024 10:00:00 +0000",
    "Received: from localhost by mx.example.net; Wed, 17 Jan 2024 09:59:00 +0000",
    "DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=x; h=from:to:subject; bh=abc; b=def",
    "From: Bob Example <bob@example.net>",
    "To: Alice <alice@example.org>, Carol <carol@example.org>",
    "Cc: team@example.org",
    "Subject: =?utf-8?q?Re=3A_Gr=C3=BC=C3=9Fe?= and the invoice of May",
    "Date: Wed, 17 Jan 2024 10:00:00 +0000",
    "Message-ID: <1@example.net>",
    "List-Id: Team <team.example.org>",
    "Content-Type: text/plain; charset=utf-8",
    body="meeting invoice hello world " * 150,
)


@pytest.mark.soak
def test_ten_rules_over_five_kilobytes() -> None:
    script = compile_script(TEN_RULES)
    transaction, environment = Transaction("bob@example.net", "alice@example.org"), Environment(now=NOW)
    runs = 3000
    start = time.process_time()
    for _ in range(runs):
        script.run(MessageView(VIEW.raw), transaction, environment)
    first = (time.process_time() - start) / runs
    start = time.process_time()
    for _ in range(runs):
        script.run(VIEW, transaction, environment)
    further = (time.process_time() - start) / runs
    start = time.process_time()
    for _ in range(100):
        compile_script(TEN_RULES)
    compiling = (time.process_time() - start) / 100
    print(f"first {first * 1e6:.0f} us, further {further * 1e6:.0f} us, compiling {compiling * 1e6:.0f} us")
    assert first < 300e-6


def test_headers_alone_decode_no_body() -> None:
    """And what was decoded for one recipient is there for the next."""
    view = MessageView(VIEW.raw)
    transaction, environment = Transaction("bob@example.net", "alice@example.org"), Environment(now=NOW)
    compile_script(TEN_RULES).run(view, transaction, environment)
    assert "tree" not in vars(view)
    body = compile_script('require "body"; if body :contains "none" { discard; }')
    body.run(view, transaction, environment)
    assert "tree" in vars(view)
    texts = view.texts(128 * 1024)
    body.run(view, transaction, environment)
    assert view.texts(128 * 1024) is texts
