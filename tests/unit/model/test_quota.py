"""Sizes as people write them."""

from __future__ import annotations

import pytest

from mailcore.model.quota import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5G", 5 << 30),
        ("1.5 GiB", 3 << 29),
        ("4096", 4096),
        ("10mb", 10 << 20),
        (" 2T ", 2 << 40),
        ("0.5K", 512),
        ("7 B", 7),
    ],
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "5X", "1e9", "5 G G", "٥G", "999999999T", "0x10"])
def test_what_is_no_size_is_refused_with_advice(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|stored"):
        parse_size(text)


@pytest.mark.parametrize(("size", "text"), [(5 << 30, "5 GiB"), (3 << 29, "1.5 GiB"), (512, "512 B"), (0, "0 B")])
def test_sizes_are_shown_in_the_largest_fitting_unit(size: int, text: str) -> None:
    assert format_size(size) == text
