"""Text from bytes in a declared charset, whatever the declaration is worth (RFC 2046 §4.1.2).

Only names known beforehand reach Python's codec registry, which remembers every name it was asked.
"""

from __future__ import annotations

import re
from encodings.aliases import aliases
from functools import lru_cache

SAMPLE_BYTES = 4096
"""Guessing looks at no more than this."""

_NO_TEXT = {
    "base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs", "oem",
    "idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined",
}  # fmt: skip
_MORE_NAMES = {
    # What mail calls them, and supersets where senders mean the superset.
    "ascii": "utf_8",  # 8-bit text under an ASCII label is mostly UTF-8
    "us_ascii": "utf_8",
    "ansi_x3.4_1968": "utf_8",
    "646": "utf_8",
    "utf8mb4": "utf_8",
    "unicode_1_1_utf_8": "utf_8",
    "unicode_1_1_utf_7": "utf_7",
    "unicode": "utf_16",
    "iso_8859_1": "cp1252",
    "iso8859_1": "cp1252",
    "latin_1": "cp1252",
    "latin1": "cp1252",
    "l1": "cp1252",
    "iso_8859_8_i": "iso8859_8",
    "iso_8859_8_e": "iso8859_8",
    "iso_8859_6_i": "iso8859_6",
    "iso_8859_6_e": "iso8859_6",
    "iso_8859_9": "cp1254",
    "iso_8859_11": "cp874",
    "tis_620": "cp874",
    "windows_874": "cp874",
    "gb2312": "gb18030",
    "gb_2312": "gb18030",
    "gb_2312_80": "gb18030",
    "gbk": "gb18030",
    "x_gbk": "gb18030",
    "cp936": "gb18030",
    "euc_kr": "cp949",
    "ks_c_5601_1987": "cp949",
    "ks_c_5601": "cp949",
    "ksc5601": "cp949",
    "ksc_5601": "cp949",
    "x_windows_949": "cp949",
    "shift_jis": "cp932",
    "x_sjis": "cp932",
    "sjis": "cp932",
    "windows_31j": "cp932",
    "iso_2022_jp": "iso2022_jp_2",
    "iso_2022_jp_ms": "iso2022_jp_ext",
    "cp50220": "iso2022_jp_ext",
    "x_euc_jp": "euc_jp",
    "big5": "big5hkscs",
    "x_x_big5": "big5hkscs",
    "x_mac_roman": "mac_roman",
    "macintosh": "mac_roman",
    "x_mac_cyrillic": "mac_cyrillic",
    "x_mac_ce": "mac_latin2",
}

_CUT_OFF = {"unexpected end of data", "incomplete multibyte sequence", "truncated data"}
_GOOD = re.compile(r"[^\x00-\x7f\ufffd]")


def _known_names() -> dict[str, str]:
    names = {alias: codec for alias, codec in aliases.items() if codec not in _NO_TEXT}
    names |= {codec: codec for codec in names.values()}
    more = "koi8_u koi8_t koi8_r cp720 cp737 cp856 cp874 cp875 cp1006 utf_8_sig utf_7 mac_croatian mac_farsi"
    names |= {codec: codec for codec in more.split()}
    return names | _MORE_NAMES


_NAMES = _known_names()


@lru_cache(maxsize=256)
def codec_for(charset: str) -> str | None:
    """The Python codec for a charset's name as found in mail; None if unknown."""
    if len(charset) > 60:
        return None
    words = charset.replace("'", " ").replace('"', " ").split()
    name = words[0].lower().rstrip(";,").replace("-", "_").replace(" ", "_") if words else ""
    for prefix, instead in (("", ""), ("windows_", "cp"), ("x_", ""), ("cp_", "cp"), ("x_cp", "cp"), ("ibm_", "cp")):
        if name.startswith(prefix):
            codec = _NAMES.get(instead + name[len(prefix) :])
            if codec is not None:
                return codec
    return None


def decode_text(data: bytes, charset: str | None, *, guess: bool = False) -> str:
    """Decode text; never fails, at worst with U+FFFD.

    The declared charset is tried strictly, then UTF-8 strictly, for few other texts happen to be UTF-8. Then a
    declared charset other than UTF-8 is used with replacement; what remains is UTF-8 with faults or unknown.

    Args:
        data: all of the text or its beginning; a character cut off at the end does not mislead.
        charset: as declared; None if it was not.
        guess: examine a sample when nothing else is known; some milliseconds, so for a few texts only.
    """
    declared = codec_for(charset) if charset else None
    for codec in (declared, "utf_8") if declared else ("utf_8",):
        try:
            return data.decode(codec)
        except UnicodeDecodeError as fault:
            if fault.reason in _CUT_OFF and not data[: fault.start].isascii():
                return data.decode(codec, "replace")
    if declared not in {None, "utf_8"}:
        return data.decode(str(declared), "replace")
    mended = data.decode("utf_8", "replace")
    if len(_GOOD.findall(mended)) > mended.count("\ufffd"):
        return mended
    return data.decode((_guess(data[:SAMPLE_BYTES]) if guess else None) or "cp1252", "replace")


def _guess(sample: bytes) -> str | None:
    """The codec that charset-normalizer finds most plausible; loaded when first needed, it is large."""
    from charset_normalizer import from_bytes

    best = from_bytes(sample, steps=3, chunk_size=512, preemptive_behaviour=False).best()
    return codec_for(best.encoding) if best else None
