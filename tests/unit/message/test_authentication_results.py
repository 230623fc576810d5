"""Whether what came is of whom it says, by the word of our own filter alone."""

from __future__ import annotations

import pytest

from mailcore.message.authentication_results import is_forged, own_results


@pytest.mark.parametrize(
    ("value", "forged"),
    [
        (b"mx.here.test; spf=pass smtp.mailfrom=a@x.test", False),
        (b"mx.here.test; spf=fail smtp.mailfrom=a@x.test", True),
        (b"mx.here.test; spf=none", True),
        (b"mx.here.test; spf=fail; dkim=pass header.d=x.test; dmarc=pass (p=none)", False),
        (b"mx.here.test;\r\n spf=pass;\r\n\tdmarc=fail (p=reject)", True),
        (b"mx.here.test; none", False),
        (b"other.test; spf=fail", False),
        (b"MX.HERE.TEST. 1; spf = fail", True),
    ],
)
def test_results_of_our_own(value: bytes, forged: bool) -> None:
    header = b"Subject: x\r\nAuthentication-Results: " + value + b"\r\n\r\n"
    assert is_forged(own_results(header, "mx.here.test")) is forged


def test_nobody_looked() -> None:
    assert not is_forged(own_results(b"Subject: x\r\n\r\n", "mx.here.test"))
