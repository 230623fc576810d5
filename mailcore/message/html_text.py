"""The visible text of HTML, for search and preview; not a sanitizer. Linear in the input."""

from __future__ import annotations

import html
import re

_TAG = re.compile(r"""<(?:!--|(/?[A-Za-z][^\s<>/"']*+|[!?/])(?:[^<>"']++|"[^"<]*+"?|'[^'<]*+'?)*+>?)""")
_HIDDEN = {
    name: re.compile(rf"</{name}\b", re.IGNORECASE) for name in ("script", "style", "title", "template", "noscript")
}
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "br", "center", "dd", "div", "dl", "dt", "fieldset", "footer",
    "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr", "html", "li", "main", "nav", "ol", "option",
    "p", "pre", "section", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
})  # fmt: skip
_LONG_NUMBER = re.compile(r"&#(?:[0-9]{8}[0-9]*+|[xX][0-9a-fA-F]{7}[0-9a-fA-F]*+);?")
_BREAK = "\0"
"""Stands for the edge of a block until lines are made."""


def visible_text(markup: str, limit: int | None = None) -> str:
    """The text between the tags, entities decoded, blocks apart by a line end; scripts and styles left out.

    Comments, and markup that is never closed, hide what follows as they do in a browser.

    Args:
        markup: HTML, or what is said to be.
        limit: when so many characters of source text were found, the rest is not read.
    """
    out: list[str] = []
    position = found = 0
    while match := _TAG.search(markup, position):
        if match.start() > position:
            found += _add(out, markup[position : match.start()])
            if limit is not None and found > limit:
                break
        position = match.end()
        name = match[1]
        if name is None:
            end = markup.find("-->", position)
            position = end + 3 if end >= 0 else len(markup)
            continue
        name = name.lower()
        hidden = _HIDDEN.get(name)
        if hidden is not None:
            closing = hidden.search(markup, position)
            position = closing.start() if closing else len(markup)
        elif name.lstrip("/") in _BLOCKS and out and out[-1] != _BREAK:
            out.append(_BREAK)
    else:
        _add(out, markup[position:])
    lines = (" ".join(line.split()) for line in unescape("".join(out)).split(_BREAK))
    return "\n".join(filter(None, lines))


def _add(out: list[str], text: str) -> int:
    """Take up text; blanks alone only where they part two words. Returns how much counts."""
    if not text.isspace():
        out.append(text)
        return len(text)
    if out and out[-1] not in {" ", _BREAK}:
        out.append(" ")
    return 0


def unescape(text: str) -> str:
    """Character references decoded; absurdly long ones, which `html.unescape` refuses, are dropped."""
    return html.unescape(_LONG_NUMBER.sub("", text)) if "&" in text else text
