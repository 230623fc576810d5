"""Debian's Chromium: the one that nobody looks at takes half the work for the same pages."""

from __future__ import annotations

import shutil
from typing import Final

CHROMIUM: Final = shutil.which("chromium-headless-shell") or shutil.which("chromium")
