"""Signatures over bytes: both algorithms verify, and what nobody may add or change is signed."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Callable

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import example, given
from hypothesis import strategies as some

from mailcore.errors import SyntaxFault, ValueInvalid
from mailcore.model.dkim import DkimAlgorithm
from mailcore.model.secret import Secret
from mailcore.services.outbound import dkim_signatures
from mailcore.services.outbound.dkim_private_keys import KeyPair, new_key, read_key
from mailcore.services.outbound.dkim_signatures import Signer, signature_fields

MESSAGE = (
    b"Received: from a\r\nFrom: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: folded\r\n and caf\xc3\xa9\r\n"
    b"Message-ID: <1@example.org>\r\nDate: Wed, 25 Nov 2026 12:00:00 +0000\r\n\r\nHello\r\n.dot\r\n\r\n\r\n"
)


@pytest.fixture(scope="module")
def pairs() -> dict[DkimAlgorithm, KeyPair]:
    return {algorithm: new_key(algorithm) for algorithm in DkimAlgorithm}


def signed(pairs: dict[DkimAlgorithm, KeyPair], message: bytes = MESSAGE) -> bytes:
    signers = [Signer(pair.algorithm.key_type, pair.algorithm, pair.private_key.reveal()) for pair in pairs.values()]
    return signature_fields(message, "example.org", signers) + message


def verdicts(pairs: dict[DkimAlgorithm, KeyPair], message: bytes) -> list[bool]:
    """What dkimpy says of each signature."""
    records = {
        f"{pair.algorithm.key_type}._domainkey.example.org.".encode(): (
            f"v=DKIM1; k={pair.algorithm.key_type}; p={pair.public_key}".encode()
        )
        for pair in pairs.values()
    }

    def verdict(index: int) -> bool:
        try:
            return dkim.DKIM(message).verify(index, dnsfunc=lambda name, timeout=5: records.get(name))
        except dkim.ValidationError:  # the body's hash
            return False

    return [verdict(index) for index in range(len(pairs))]


def test_both_algorithms_verify(pairs: dict[DkimAlgorithm, KeyPair]) -> None:
    """RFC 6376 §6, RFC 8463 §3."""
    assert verdicts(pairs, signed(pairs)) == [True, True]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param((b"Hello", b"Hullo"), id="body"),
        pytest.param((b"ann@", b"eve@"), id="from"),
        pytest.param((b"Subject: folded", b"Subject: bolded"), id="subject"),
        pytest.param((b"Received:", b"From: eve@example.com\r\nReceived:"), id="second-from"),
        pytest.param((b"Received:", b"Subject: other\r\nReceived:"), id="second-subject"),
        pytest.param((b"Received:", b"Content-Type: text/html\r\nReceived:"), id="new-content-type"),
        pytest.param((b"\r\n.dot", b"\r\n.dot\r\nmore"), id="longer-body"),
    ],
)
def test_what_is_changed_or_added_on_the_way_shows(
    pairs: dict[DkimAlgorithm, KeyPair], change: tuple[bytes, bytes]
) -> None:
    """From is signed once more than it is there (RFC 6376 §8.15), and no signature has a length (§8.2)."""
    assert verdicts(pairs, signed(pairs).replace(*change)) == [False, False]


def test_what_relays_do_changes_nothing(pairs: dict[DkimAlgorithm, KeyPair]) -> None:
    """Relaxed headers: folded otherwise, and with Received fields on top."""
    relayed = b"Received: by relay\r\n" + signed(pairs).replace(b"Subject: folded\r\n and", b"subject:  folded and")
    assert verdicts(pairs, relayed) == [True, True]


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n\r\n", b"no end", b"bare\nline ends\n", b"\r\nx" * 9999])
def test_bodies_of_every_kind_verify(pairs: dict[DkimAlgorithm, KeyPair], body: bytes) -> None:
    """RFC 6376 §3.4.3: empty lines at the end count as one."""
    message = b"From: ann@example.org\r\nSubject: x\r\n\r\n" + body
    assert verdicts(pairs, signed(pairs, message)) == [True, True]
    assert verdicts(pairs, signed(pairs, b"From: ann@example.org\r\n")) == [True, True]


def test_no_signature_has_a_length(pairs: dict[DkimAlgorithm, KeyPair]) -> None:
    fields = signed(pairs)[: -len(MESSAGE)]
    assert fields.count(b"DKIM-Signature:") == 2
    assert b" l=" not in fields
    assert fields.endswith(b"\r\n")
    assert all(line.startswith((b"DKIM-Signature:", b" ")) for line in fields.split(b"\r\n")[:-1])


def test_without_oversigning_a_second_subject_would_pass(
    pairs: dict[DkimAlgorithm, KeyPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control. dkimpy looks for a second From by itself; not every verifier does."""
    monkeypatch.setattr(dkim_signatures, "OVERSIGNED", ())
    monkeypatch.setattr(dkim_signatures, "SIGNED", (b"from", b"subject"))
    forged = signed(pairs).replace(b"Received:", b"Subject: other\r\nReceived:")
    assert verdicts(pairs, forged) == [True, True]


def test_header_that_is_none_is_refused(pairs: dict[DkimAlgorithm, KeyPair]) -> None:
    with pytest.raises(SyntaxFault):
        signed(pairs, b"From: a@example.org\r\nno field\r\n\r\nbody\r\n")


def test_keys_made_elsewhere_are_read(pairs: dict[DkimAlgorithm, KeyPair]) -> None:
    for pair in pairs.values():
        assert read_key(pair.private_key).public_key == pair.public_key
    pkcs8 = rsa.generate_private_key(65537, 2048)
    pem = pkcs8.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    read = read_key(Secret(pem))
    assert verdicts({read.algorithm: read}, signed({read.algorithm: read})) == [True]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(base64.b64encode(b"short"), id="short"),
        pytest.param(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", id="no-key"),
        pytest.param(
            rsa.generate_private_key(65537, 1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            id="weak-rsa",
        ),
    ],
)
def test_keys_that_are_none_or_weak_are_refused(text: bytes) -> None:
    """RFC 8301 §3.2."""
    with pytest.raises(ValueInvalid):
        read_key(Secret(text))


def _folds_of_dkimpy() -> Callable[..., bytes]:
    """Return dkimpy's own function: in the module that everybody imports it may be replaced by now."""
    spec = importlib.util.find_spec("dkim")
    assert spec is not None
    assert spec.loader is not None
    untouched = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(untouched)
    made: Callable[..., bytes] = untouched.fold
    return made


DKIMPYS_FOLD = _folds_of_dkimpy()
PIECES = some.sampled_from([b"a", b" ", b"subject : ", b"; ", b"\r\n", b"\r\n ", b"x" * 30, b"y" * 71])


@given(
    some.lists(PIECES, max_size=40).map(b"".join),
    some.sampled_from([0, 9, 14, 22, 26]),
    some.sampled_from([b"\r\n", b"\n"]),
)
@example(b"x" * 73, 0, b"\r\n")
@example(b"x" * 72 + b"\r\n", 0, b"\r\n")
@example(b"v=1;\r\n " + b"from : " * 40, 14, b"\r\n")
def test_fields_are_folded_as_dkimpy_folds_them(value: bytes, namelen: int, linesep: bytes) -> None:
    assert dkim_signatures.fold(value, namelen, linesep) == DKIMPYS_FOLD(value, namelen, linesep)


def test_dkimpy_folds_by_ours() -> None:
    """Its own takes the square of the names that are signed."""
    assert dkim_signatures.dkimpy().fold is dkim_signatures.fold
    assert DKIMPYS_FOLD is not dkim_signatures.fold
