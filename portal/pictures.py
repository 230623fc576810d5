"""Pictures made for a page: QR codes."""

from __future__ import annotations

import segno


def qr_code(text: str) -> str:
    """Return a QR code as a `data:` address for an img."""
    return segno.make(text, error="m").svg_data_uri(scale=4, border=2, dark="#000000", light="#ffffff")
