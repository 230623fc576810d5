"""Messages of our own making that mean harm, or are merely broken: every door and parser must stand them.

    for message in HOSTILE:
        raw = message.build()

Nothing is stored; each is made when it is needed. `size_bytes` tells the large ones beforehand.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class HostileMessage:
    """One message; CRLF line ends unless its name says otherwise."""

    name: str
    build: Callable[[], bytes]
    is_large: bool = False
    """More than 4 MiB."""
    has_bare_line_ends: bool = False
    """LMTP changes it, submission refuses it."""

    def __str__(self) -> str:
        return self.name


_messages: list[HostileMessage] = []


def _hostile(
    name: str, *, is_large: bool = False, has_bare_line_ends: bool = False
) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    def register(build: Callable[[], bytes]) -> Callable[[], bytes]:
        _messages.append(HostileMessage(name, build, is_large, has_bare_line_ends))
        return build

    return register


def _head(*fields: str | bytes, subject: str = "hostile") -> bytes:
    """The usual fields, then these, and the blank line."""
    lines: list[str | bytes] = [
        "From: Mallory <mallory@example.net>",
        "To: Alice <alice@example.org>",
        f"Subject: {subject}",
        "Date: Wed, 17 Jan 2024 10:00:00 +0000",
        "Message-ID: <hostile@example.net>",
        "MIME-Version: 1.0",
        *fields,
    ]
    return b"".join((line if isinstance(line, bytes) else line.encode()) + b"\r\n" for line in lines) + b"\r\n"


def _mixed(*parts: bytes, boundary: str = "b", subtype: str = "mixed") -> bytes:
    head = _head(f'Content-Type: multipart/{subtype}; boundary="{boundary}"')
    mark = b"--" + boundary.encode()
    return head + b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


def _part(body: bytes, content_type: str = "text/plain", *fields: str) -> bytes:
    lines = [f"Content-Type: {content_type}", *fields]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def _noise(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


def _base64_lines(data: bytes, length: int = 76, line_end: bytes = b"\r\n") -> bytes:
    encoded = base64.b64encode(data)
    return line_end.join(encoded[at : at + length] for at in range(0, len(encoded), length))


# -- depth and number -------------------------------------------------------------------------------------------------


@_hostile("multiparts-10000-deep")
def _() -> bytes:
    opened = b"".join(b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(10_000))
    return (
        _head()[:-2] + opened + b"\r\nat the bottom\r\n" + b"".join(b"--%d--\r\n" % n for n in reversed(range(10_000)))
    )


@_hostile("multiparts-10000-deep-never-closed")
def _() -> bytes:
    return _head()[:-2] + b"".join(
        b"Content-Type: multipart/mixed; boundary=x%d\r\n\r\n--x%d\r\n" % (n, n) for n in range(10_000)
    )


@_hostile("parts-100000")
def _() -> bytes:
    return _mixed(*[b"\r\nx"] * 100_000)


@_hostile("parts-100000-empty")
def _() -> bytes:
    return _head('Content-Type: multipart/mixed; boundary="b"') + b"--b\r\n" * 100_000


@_hostile("messages-1000-nested")
def _() -> bytes:
    return _head()[:-2] + b"Content-Type: message/rfc822\r\n\r\n" * 1000 + b"Subject: innermost\r\n\r\nbody\r\n"


@_hostile("messages-and-multiparts-500-nested")
def _() -> bytes:
    return _head()[:-2] + b"".join(
        b"Content-Type: multipart/mixed; boundary=m%d\r\n\r\n--m%d\r\nContent-Type: message/rfc822\r\n\r\n" % (n, n)
        for n in range(500)
    )


@_hostile("digest-of-5000-messages")
def _() -> bytes:
    return _mixed(*[b"\r\nFrom: a@b.c\r\nSubject: s\r\n\r\nx"] * 5000, subtype="digest")


@_hostile("messages-5000-with-many-recipients")
def _() -> bytes:
    message = b"Content-Type: message/rfc822\r\n\r\nTo: " + b"a@b," * 50 + b"\r\n\r\nx"
    return _mixed(*[message] * 5000)


@_hostile("multiparts-50-deep-50-wide")
def _() -> bytes:
    head = _head()[:-2]
    for depth in range(50):
        head += b"Content-Type: multipart/mixed; boundary=w%d\r\n\r\n" % depth
        head += b"--w%d\r\n\r\nx\r\n" % depth * 50 + b"--w%d\r\n" % depth
    return head + b"\r\nend\r\n"


@_hostile("inline-images-1000-of-31-kb", is_large=True)
def _() -> bytes:
    image = _base64_lines(_noise(23_000))
    text = _part(b"".join(b'<img src="cid:i%d">\r\n' % n for n in range(1000)), "text/html; charset=utf-8")
    images = [
        _part(
            image,
            "image/png",
            "Content-Transfer-Encoding: base64",
            f"Content-ID: <i{n}>",
            "Content-Disposition: inline",
        )
        for n in range(1000)
    ]
    return _mixed(text, *images, subtype="related")


# -- headers ----------------------------------------------------------------------------------------------------------


@_hostile("header-of-1-mb")
def _() -> bytes:
    return _head("X-Large: " + "x" * 76 + "\r\n ".join(["y" * 76] * (MIB // 79))) + b"body\r\n"


@_hostile("header-of-3-mb-type-behind-the-limit")
def _() -> bytes:
    fill = "".join(f"X-{n}: {'z' * 900}\r\n" for n in range(3 * MIB // 910))
    return _head(fill + 'Content-Type: multipart/mixed; boundary="b"') + b"--b\r\n\r\nx\r\n--b--\r\n"


@_hostile("headers-100000")
def _() -> bytes:
    return _head("\r\n".join(f"X-{n}: v" for n in range(100_000))) + b"body\r\n"


@_hostile("content-types-100000")
def _() -> bytes:
    return _head(*["Content-Type: text/html"] * 100_000) + b"body\r\n"


@_hostile("subject-of-1-mb")
def _() -> bytes:
    return _head(subject="s" * MIB) + b"body\r\n"


@_hostile("header-never-ends")
def _() -> bytes:
    return _head()[:-2] + b"X-Last: no blank line follows\r\n"


@_hostile("header-without-line-end")
def _() -> bytes:
    return b"Subject: nothing more"


@_hostile("blank-line-first")
def _() -> bytes:
    return b"\r\nFrom: not@a.header\r\n\r\ntext\r\n"


@_hostile("folded-into-nothing")
def _() -> bytes:
    return _head("X-Folded:", *[" "] * 10_000, "\tend", "Subject:", "  ", " late") + b"body\r\n"


@_hostile("first-line-folded")
def _() -> bytes:
    return b" continuation of nothing\r\n" + _head() + b"body\r\n"


@_hostile("lines-without-colon")
def _() -> bytes:
    return _head("this is no field", "neither: is not quite", "=?utf-8?q?x?=", ":no name") + b"body\r\n"


@_hostile("field-names-with-blanks")
def _() -> bytes:
    return _head("Content-Type : text/html", "Bcc\t:hidden@example.org", "X Y: z") + b"<p>body</p>\r\n"


@_hostile("every-field-twice")
def _() -> bytes:
    fields = _head('Content-Type: text/plain; charset="utf-8"', "Content-Transfer-Encoding: 8bit")[:-2]
    return fields + fields.replace(b"text/plain", b"text/html").replace(b"8bit", b"base64") + b"\r\nbody\r\n"


@_hostile("8-bit-headers")
def _() -> bytes:
    return (
        _head(
            "From: Žofie Müller <žofie@müller.example>".encode(),
            b"To: J\xfcrgen <j\xfcrgen@example.org>, \xa4\xb3\xa4\xec <kore@example.jp>",
            "Cc: 山田太郎 <yamada@例え.jp>".encode(),
            b"Content-Type: text/plain; name=\xe9t\xe9.txt",
            "Content-Disposition: attachment; filename=日本語.pdf".encode(),
            b"Content-Description: \xff\xfe\xfd",
        ).replace(b"Subject: hostile", b"Subject: \xc3\xa9\xe9\xc3")
        + b"body\r\n"
    )


@_hostile("nul-everywhere")
def _() -> bytes:
    cc = b'Cc: "n\0ul" <n\0ul@example.org>'
    return _head(b"X-\0Nul: a\0b", cc, b'Content-Type: text/plain; name="a\0b"', subject="a\0b") + b"bo\0dy\r\n\0\r\n"


@_hostile("response-injection")
def _() -> bytes:
    return _head(
        'From: "a\\" NIL NIL NIL) (\\"b" <x"y@example.org>',
        "Cc: {5}\r\n aaaaa <{3+}@example.org>, \"\\\\\" <\\\\@example.org>, ) <)@(>",
        'In-Reply-To: <") BODY[] {10}>',
        'Content-Type: text/plain; name="x\\" \\"y) NIL"; a="{3}"',
        'Content-Disposition: attach"ment; filename="\\\\"',
        "Content-ID: ){999999}(",
        'Content-Description: * 1 FETCH (FLAGS ("\\Deleted"))',
        "Content-Language: en\"), de(, \\",
        "Content-Location: \\",
        "Content-MD5: {0}",
        subject='quoted " and \\ and {5}',
    ) + b"body\r\n"  # fmt: skip


# -- address lists ----------------------------------------------------------------------------------------------------


@_hostile("addresses-100000")
def _() -> bytes:
    return _head("Cc: " + ",\r\n ".join(f"u{n}@example.org" for n in range(100_000))) + b"body\r\n"


@_hostile("addresses-angles")
def _() -> bytes:
    return _head("Cc: " + "<" * 300_000, "Bcc: " + "<a>" * 100_000, "Reply-To: " + ">" * 100_000) + b"body\r\n"


@_hostile("addresses-comments")
def _() -> bytes:
    return _head("Cc: " + "(" * 300_000, "Bcc: " + "(a)" * 100_000, "Reply-To: " + "\\(" * 50_000) + b"body\r\n"


@_hostile("addresses-quotes")
def _() -> bytes:
    return _head("Cc: " + '"' * 300_001, "Bcc: " + '"\\' * 100_000, "Reply-To: " + '"a" ' * 50_000) + b"body\r\n"


@_hostile("addresses-groups")
def _() -> bytes:
    return _head("Cc: " + "g:" * 100_000, "Bcc: " + "g:a@b;" * 50_000, "Reply-To: " + ";" * 100_000 + ":") + b"body\r\n"


@_hostile("addresses-routes")
def _() -> bytes:
    return (
        _head("Cc: <" + "@a," * 50_000 + ":u@example.org>", "Bcc: " + "@" * 100_000, "Reply-To: a@b@c@d") + b"body\r\n"
    )


@_hostile("addresses-odd")
def _() -> bytes:
    return _head(
        "Cc: , ,, undisclosed-recipients:;, A (b) <c@d> (e), f g, <>, \"\" <@>, x@[1.2.3.4], a.@.b, <@r,@s:t@u>, v w@x",
        "Bcc: =?utf-8?q?a=2C_b?= <c@d>, =?utf-8?q?broken <e@f>, \"unclosed <g@h>, i@j",
        "Sender: a@b (c (d) \\) e",
        "Reply-To: mailto:x@y",
    ) + b"body\r\n"  # fmt: skip


# -- parameters and encoded words -------------------------------------------------------------------------------------


@_hostile("rfc2231-10000-pieces")
def _() -> bytes:
    pieces = ";\r\n ".join(f"filename*{n}*=%41" for n in range(10_000))
    return _head("Content-Type: application/octet-stream", "Content-Disposition: attachment;\r\n " + pieces) + b"x\r\n"


@_hostile("rfc2231-pieces-reversed-doubled-and-missing")
def _() -> bytes:
    pieces = "; ".join(f"name*{n}=p{n}" for n in (*range(5000, -1, -1), *range(100), 99_999, 7_000))
    return _head(f"Content-Type: text/plain; {pieces}; name*x*=1; name**=2; *=3; *0=4; =5; boundary*0=a") + b"x\r\n"


@_hostile("rfc2231-charset-unknown")
def _() -> bytes:
    return _head(
        "Content-Disposition: attachment; filename*=x-made-up'en'%80%81%ff%",
        "Content-Type: text/plain; charset*=''zip; name*=hex''%61",
    ) + b"x\r\n"  # fmt: skip


@_hostile("parameters-100000")
def _() -> bytes:
    return _head("Content-Type: text/plain" + "".join(f"; p{n}=v" for n in range(100_000))) + b"x\r\n"


@_hostile("parameters-without-end")
def _() -> bytes:
    return (
        _head('Content-Type: text/plain; name="' + 'a\\"' * 100_000, "Content-Disposition: " + ";=" * 100_000)
        + b"x\r\n"
    )


@_hostile("encoded-word-flood")
def _() -> bytes:
    return (
        _head("Cc: " + "=?utf-8?q?=41?= " * 20_000 + "<a@b>", subject="=?utf-8?b?w6k=?=\r\n " * 30_000 + "end")
        + b"x\r\n"
    )


@_hostile("encoded-words-broken")
def _() -> bytes:
    words = [
        "=?",
        "=?utf-8",
        "=?utf-8?",
        "=?utf-8?q",
        "=?utf-8?q?a",
        "=?utf-8?b?!!!?=",
        "=?utf-8?x?a?=",
        "=?zip?b?eJw=?=",
    ]
    words += ["=??q?a?=", "=?utf-8?q??=", "=?idna?q?xn--a?=", "=?utf-7?q?+AAAA?=", "=?utf-16?b?//4=?=", "=?hex?q?41?="]
    return _head("Cc: " + "=?" * 100_000, subject=" ".join(words * 200)) + b"x\r\n"


# -- boundaries -------------------------------------------------------------------------------------------------------


@_hostile("boundary-prefix-of-another")
def _() -> bytes:
    inner = b"Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\none\r\n--bb\r\n\r\ntwo\r\n--bb--"
    return _mixed(inner, b"\r\nthree", b"Content-Type: multipart/mixed; boundary=b-\r\n\r\n--b-\r\n\r\nfour\r\n--b---")


@_hostile("boundary-of-both-the-same")
def _() -> bytes:
    inner = b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--"
    return _mixed(inner, b"\r\nthree")


@_hostile("boundaries-100-prefixes")
def _() -> bytes:
    opened = b"".join(
        b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n" % ((b"a" * n,) * 2) for n in range(1, 90)
    )
    return _head()[:-2] + opened + b"\r\n" + b"--" + b"\r\n--".join(b"a" * (n % 120) for n in range(20_000)) + b"\r\n"


@_hostile("boundary-missing")
def _() -> bytes:
    return _head("Content-Type: multipart/mixed") + b"--b\r\n\r\nx\r\n--b--\r\n"


@_hostile("boundary-empty")
def _() -> bytes:
    return _head('Content-Type: multipart/mixed; boundary=""') + b"--\r\n\r\nx\r\n----\r\n"


@_hostile("boundary-never-used")
def _() -> bytes:
    return _head("Content-Type: multipart/mixed; boundary=b") + b"--c\r\n\r\nplain text after all\r\n"


@_hostile("boundary-closed-at-once")
def _() -> bytes:
    return _head("Content-Type: multipart/mixed; boundary=b") + b"--b--\r\nepilogue\r\n--b\r\n\r\nx\r\n"


@_hostile("boundary-of-70000-characters")
def _() -> bytes:
    return _mixed(b"\r\none", b"\r\ntwo", boundary="q" * 70_000)


@_hostile("boundary-in-header")
def _() -> bytes:
    return _head("Content-Type: multipart/mixed; boundary=b") + b"--b\r\nSubject: cut\r\n--b\r\n--b\r\n\r\n--b--"


@_hostile("boundary-with-blanks-behind")
def _() -> bytes:
    head = _head('Content-Type: multipart/mixed; boundary="b "')
    return head + b"preamble\r\n--b \t \r\n\r\none\r\n--b\t\r\n\r\ntwo\r\n--bx\r\n --b\r\n--b-- \r\nepilogue"


@_hostile("delimiters-that-are-none")
def _() -> bytes:
    return _mixed(b"\r\n" + b"--c\r\n" * 300_000)


@_hostile("outer-boundary-inside-message")
def _() -> bytes:
    forwarded = (
        b"Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\ncut short"
    )
    return _mixed(forwarded, b"\r\nnext")


# -- types and encodings ----------------------------------------------------------------------------------------------


@_hostile("content-type-missing")
def _() -> bytes:
    return b"From: a@example.org\r\n\r\nbody with 8 bit \xe9\r\n"


@_hostile("content-types-malformed")
def _() -> bytes:
    values = [
        "",
        "text",
        "/",
        "text/",
        "/plain",
        "a/b/c",
        "text plain",
        '"text/plain"',
        "te\0xt/plain",
        ";charset=utf-8",
        "(c)",
    ]
    return _mixed(*[_part(b"x", value) for value in values], _part(b"x", "text/plain; charset"), _part(b"x", "ÿ/ÿ"))


@_hostile("encodings-malformed")
def _() -> bytes:
    values = ["", "base-64", "7bit, 8bit", "quoted-printable;", "(c) base64", "x-uuencode", "BASE64", "8 bit", "é"]
    return _mixed(*[_part(b"QUJD", "text/plain", f"Content-Transfer-Encoding: {value}") for value in values])


@_hostile("base64-broken")
def _() -> bytes:
    good = _base64_lines(_noise(30_000))
    bodies = [
        good[:-3], good.replace(b"\r\n", b" \r\n"), good.replace(b"A", b"!"), good + b"\r\n====\r\n" + good,
        good[:1000] + b"\r\n" + good,
        b"=" * 40_000, b"A" * 40_001, good.replace(b"\r\n", b"=\r\n"), b"-_" * 20_000, b"QQ=\r\n=" * 8000,
    ]  # fmt: skip
    return _mixed(*[_part(body, "image/png", "Content-Transfer-Encoding: base64") for body in bodies])


@_hostile("base64-line-lengths", has_bare_line_ends=True)
def _() -> bytes:
    data = _noise(40_000)
    bodies = [_base64_lines(data, length) for length in (4, 60, 64, 72, 73, 76, 80, 1000, 60_000)]
    bodies += [_base64_lines(data, 76, b"\n"), _base64_lines(data, 76) + b"\r\n\r\n\r\n", _base64_lines(data[:39_999])]
    return _mixed(*[_part(body, "application/pdf", "Content-Transfer-Encoding: base64") for body in bodies])


@_hostile("quoted-printable-broken")
def _() -> bytes:
    body = b"=\r\n=G1=4\r\n=C3=\r\n=A9=" + b"=" * 50_000 + b"=\r\n" * 10_000
    return _head("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable") + body


@_hostile("charsets-unknown-2000")
def _() -> bytes:
    return _mixed(*[_part(b"gr\xfc\xdfe \x80\xff", f"text/plain; charset=x-unknown-{n}") for n in range(2000)])


@_hostile("charsets-that-are-no-text")
def _() -> bytes:
    names = [
        "zip",
        "hex",
        "bz2",
        "rot13",
        "idna",
        "punycode",
        "unicode_escape",
        "undefined",
        "mbcs",
        "base64",
        "uu",
        "../x",
    ]
    return _mixed(*[_part(b"xn--\xff\\U00110000" * 500, f'text/plain; charset="{name}"') for name in names])


@_hostile("message-in-base64")
def _() -> bytes:
    inner = _base64_lines(_head("Content-Type: text/html") + b"<p>hidden</p>")
    return _mixed(_part(inner, "message/rfc822", "Content-Transfer-Encoding: base64"), _part(b"", "message/rfc822"))


@_hostile("html-that-never-closes")
def _() -> bytes:
    body = (
        b"<" * 200_000
        + b"<!--" * 50_000
        + b"<a href='" * 50_000
        + b"<script>" * 50_000
        + b"&#"
        + b"9" * 100_000
        + b";&" * 50_000
    )
    return _head("Content-Type: text/html; charset=utf-8") + body


@_hostile("combining-marks-100000")
def _() -> bytes:
    body = "a" + "\u0301\u0316\uff9e" * 40_000
    return _head("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit") + body.encode()


# -- lines and bytes --------------------------------------------------------------------------------------------------


@_hostile("line-of-50-mb", is_large=True)
def _() -> bytes:
    return _head("Content-Type: text/plain") + b"x" * (50 * MIB) + b"\r\n"


@_hostile("delimiter-line-of-5-mb", is_large=True)
def _() -> bytes:
    return _mixed(b"\r\none\r\n--b" + b" " * (5 * MIB) + b"x", b"\r\ntwo")


@_hostile("lines-1000000-empty", is_large=True)
def _() -> bytes:
    return _mixed(b"Content-Type: text/plain\r\n\r\n" + b"\r\n" * (3 * MIB))


@_hostile("bare-line-feeds", has_bare_line_ends=True)
def _() -> bytes:
    return _mixed(b"\r\none", _part(b"two\r\n", "text/html")).replace(b"\r\n", b"\n")


@_hostile("bare-carriage-returns", has_bare_line_ends=True)
def _() -> bytes:
    return _mixed(b"\r\none\rtwo\r\rthree", _part(b"four", "text/html")) + b"\r--b\r\r\nfive\r"


@_hostile("line-ends-mixed", has_bare_line_ends=True)
def _() -> bytes:
    head = _head("Content-Type: multipart/mixed; boundary=b").replace(b"\r\nTo", b"\nTo")
    return head + b"--b\n\r\none\r\n--b\r\n\ntwo\n--b\r\r\n\r\nthree\n\r--b--\n"


@_hostile("smuggled-second-message", has_bare_line_ends=True)
def _() -> bytes:
    return _head() + b"first\r\n\n.\r\nMAIL FROM:<x@y>\n.\n\r.\r\r\n.\n" + _head(subject="second")


@_hostile("dots")
def _() -> bytes:
    return _head() + b".\r\n..\r\n...\r\n.x\r\n" * 1000


@_hostile("empty")
def _() -> bytes:
    return b""


@_hostile("all-bytes", has_bare_line_ends=True)
def _() -> bytes:
    return bytes(range(256)) * 64


@_hostile("noise", has_bare_line_ends=True)
def _() -> bytes:
    return _noise(100_000)


@_hostile("binary-body", has_bare_line_ends=True)
def _() -> bytes:
    return _mixed(_part(_noise(200_000), "application/octet-stream", "Content-Transfer-Encoding: binary"))


HOSTILE: tuple[HostileMessage, ...] = tuple(_messages)
"""All of them, small and large."""
