"""What was verified, out of fields of our own."""

from __future__ import annotations

from mailcore.message.verification import verification

OURS = (
    b"Received: from mx.test by mx.test with LMTP id 1\r\n"
    b"Received: from a.example.org (a.example.org [192.0.2.1])\r\n"
    b"\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n\tby mx.test with ESMTPS\r\n"
    b"Received: from evil (using TLSv1.0 with cipher NULL (0/0 bits)) by other\r\n"
    b"Authentication-Results: mx.test;\r\n\tdkim=pass header.d=example.org header.s=x;\r\n"
    b"\tspf=pass smtp.mailfrom=ann@mail.example.org;\r\n\tdmarc=pass (policy=reject) header.from=example.org\r\n"
    b"Authentication-Results: other; dkim=pass header.d=evil.example\r\n\r\n"
)


def test_what_passed_is_told_by_domain() -> None:
    found = verification(OURS, "mx.test")
    assert found is not None
    assert found.tls == ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    assert (found.spf, found.dkim, found.dmarc, found.policy) == (
        "mail.example.org", "example.org", "example.org", "reject",
    )  # fmt: skip


def test_what_others_say_counts_not() -> None:
    assert verification(OURS, "elsewhere.test") is None
    assert verification(b"Subject: x\r\n\r\n", "mx.test") is None


def test_what_failed_is_not_told_as_passed() -> None:
    found = verification(OURS.replace(b"=pass", b"=fail"), "mx.test")
    assert found is not None
    assert (found.spf, found.dkim, found.dmarc, found.policy) == (None, None, None, "reject")


def test_connections_of_others_are_not_ours() -> None:
    """Only the topmost fields were written here."""
    header = OURS.replace(b"\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n", b"")
    found = verification(header, "mx.test")
    assert found is not None
    assert found.tls is None
