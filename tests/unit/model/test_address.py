"""The canonical form of addresses: what looks like one address is one (RFC 8265 §3.3, UTS 46, RFC 6531)."""

from __future__ import annotations

import pytest

from mailcore.errors import AddressInvalid, DomainInvalid
from mailcore.model.address import Address, canonical, display_domain, domain_name

SAME = [
    pytest.param("John.Doe@Example.COM", "johndoe@example.com", id="case-and-dots"),
    pytest.param("johndoe+shop@example.com", "johndoe@example.com", id="label"),
    pytest.param("johndoe+a+b.c@example.com", "johndoe@example.com", id="label-with-plus-and-dot"),
    pytest.param("johndoe+@example.com", "johndoe@example.com", id="empty-label"),
    pytest.param("ａｄｍｉｎ@example.com", "admin@example.com", id="fullwidth"),
    pytest.param("ad．min＋x@example.com", "admin@example.com", id="fullwidth-dot-and-plus"),
    pytest.param("\u212aelvin@example.com", "kelvin@example.com", id="kelvin-sign"),
    pytest.param("\u212bsa@example.com", "åsa@example.com", id="angstrom-sign"),
    pytest.param("jose\u0301@example.com", "josé@example.com", id="nfd"),
    pytest.param("JOSÉ@example.com", "josé@example.com", id="nfc-upper"),
    pytest.param("STRASSE@example.com", "strasse@example.com", id="ss"),
    pytest.param("straße@example.com", "strasse@example.com", id="sharp-s"),
    pytest.param("straẞe@example.com", "strasse@example.com", id="capital-sharp-s"),
    pytest.param("Σίσυφος@example.com", "σίσυφοσ@example.com", id="final-sigma"),
    pytest.param("用.户+标签@例え.jp", "用户@xn--r8jz45g.jp", id="dots-and-label-in-han"),
    pytest.param("иван.петров+почта@пример.рф", "иванпетров@xn--e1afmkfd.xn--p1ai", id="cyrillic"),
    pytest.param('"john.doe"@example.com', "johndoe@example.com", id="quoted-without-need"),
    pytest.param('"jo\\hn"@example.com', "john@example.com", id="quoted-pair-without-need"),
    pytest.param("a@MÜNCHEN.de", "a@xn--mnchen-3ya.de", id="u-label"),
    pytest.param("a@XN--MNCHEN-3YA.de", "a@xn--mnchen-3ya.de", id="a-label"),
    pytest.param("a@mu\u0308nchen.de", "a@xn--mnchen-3ya.de", id="u-label-nfd"),
    pytest.param("a@ｅxample。com", "a@example.com", id="fullwidth-domain"),
]


@pytest.mark.parametrize(("text", "expected"), SAME)
def test_what_looks_alike_is_one_address(text: str, expected: str) -> None:
    assert canonical(text) == expected
    assert canonical(canonical(text)) == expected


DIFFERENT = [
    pytest.param("admin@example.com", "admın@example.com", id="dotless-i"),
    pytest.param("a@straße.de", "a@strasse.de", id="sharp-s-in-domain-is-its-own-name"),
    pytest.param("paypal@example.com", "pаypal@example.com", id="cyrillic-a"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_letters_stay_different(one: str, other: str) -> None:
    """Look-alikes of other scripts are another identity; a sign-up may warn of them, the key must not merge them."""
    assert canonical(one) != canonical(other)


REFUSED = [
    pytest.param("", id="empty"),
    pytest.param("john", id="no-domain"),
    pytest.param("@example.com", id="no-local-part"),
    pytest.param("john@", id="empty-domain"),
    pytest.param(".john@example.com", id="leading-dot"),
    pytest.param("john.@example.com", id="trailing-dot"),
    pytest.param("jo..hn@example.com", id="double-dot"),
    pytest.param("+x@example.com", id="nothing-but-label"),
    pytest.param("john.+x@example.com", id="dot-before-label"),
    pytest.param("john@example.com.", id="domain-trailing-dot"),
    pytest.param("john@example.com。", id="domain-trailing-ideographic-dot"),
    pytest.param("john@[192.0.2.1]", id="ipv4-literal"),
    pytest.param("john@[IPv6:2001:db8::1]", id="ipv6-literal"),
    pytest.param("john@192.0.2.1", id="ipv4-bare"),
    pytest.param("john@exa_mple.com", id="underscore-domain"),
    pytest.param("john@-example.com", id="hyphen-first"),
    pytest.param("john@exam ple.com", id="space-in-domain"),
    pytest.param('"john doe"@example.com', id="quoted-space"),
    pytest.param('"john@doe"@example.com', id="quoted-at"),
    pytest.param('"john"doe@example.com', id="quote-in-the-middle"),
    pytest.param('"john', id="open-quote"),
    pytest.param("jo\u200dhn@example.com", id="zwj"),
    pytest.param("jo\u200chn@example.com", id="zwnj"),
    pytest.param("jo\u202ehn@example.com", id="bidi-override"),
    pytest.param("jo\u2066hn@example.com", id="bidi-isolate"),
    pytest.param("jo\u00adhn@example.com", id="soft-hyphen"),
    pytest.param("jo\u034fhn@example.com", id="grapheme-joiner"),
    pytest.param("jo\ufe0fhn@example.com", id="variation-selector"),
    pytest.param("jo\u3164hn@example.com", id="hangul-filler"),
    pytest.param("jo\x00hn@example.com", id="nul"),
    pytest.param("jo\r\nhn@example.com", id="crlf"),
    pytest.param("john@example.com\r\nRCPT", id="crlf-after"),
    pytest.param("jo\x7fhn@example.com", id="del"),
    pytest.param("jo\u2028hn@example.com", id="line-separator"),
    pytest.param("jo\u00a0hn@example.com", id="no-break-space"),
    pytest.param("ﬁx@example.com", id="ligature"),
    pytest.param("①@example.com", id="circled-digit"),
    pytest.param("😀@example.com", id="emoji"),
    pytest.param("\u0301a@example.com", id="leading-mark"),
    pytest.param("a.\u0301b@example.com", id="mark-after-dot"),
    pytest.param("\ud800@example.com", id="lone-surrogate"),
    pytest.param("אab@example.com", id="mixed-direction"),
    pytest.param("a" * 65 + "@example.com", id="local-65"),
    pytest.param("é" * 33 + "@example.com", id="local-66-octets"),
    pytest.param("a@" + ".".join(["b" * 63] * 4), id="domain-255"),
    pytest.param("a@" + "b" * 64 + ".com", id="label-64"),
    pytest.param("a@" + "b" * 5000, id="huge"),
    pytest.param("john(comment)@example.com", id="comment"),
    pytest.param("john@xn--a.com", id="broken-a-label"),
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_hosted_is_refused(text: str) -> None:
    with pytest.raises(AddressInvalid):
        canonical(text)


def test_longest_local_parts_are_taken() -> None:
    """64 octets, counted in UTF-8 (RFC 5321 §4.5.3.1.1, RFC 6531 §3.3)."""
    assert canonical("a" * 64 + "@example.com") == "a" * 64 + "@example.com"
    assert canonical("é" * 32 + "@example.com") == "é" * 32 + "@example.com"


def test_label_and_display_keep_what_was_written() -> None:
    address = Address.parse("Jo.Hn+Shop.2@MÜNCHEN.de")
    assert (address.label, address.base, address.domain) == ("Shop.2", "john", "xn--mnchen-3ya.de")
    assert address.display == "Jo.Hn+Shop.2@münchen.de"
    assert Address.parse("john@example.com").label is None
    assert Address.parse("john+@example.com").label == ""


def test_domain_names_may_end_in_the_root_dot() -> None:
    assert domain_name("Example.ORG.") == "example.org"
    with pytest.raises(DomainInvalid):
        domain_name("example.org..")


def test_displayed_domain_comes_back_to_itself() -> None:
    assert domain_name(display_domain("xn--e1afmkfd.xn--p1ai")) == "xn--e1afmkfd.xn--p1ai"
    assert display_domain("xn--e1afmkfd.xn--p1ai") == "пример.рф"
