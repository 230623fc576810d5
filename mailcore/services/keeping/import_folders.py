"""Where mail is in files: mbox files, Maildirs with their subfolders, folders of .eml; and what else lies there.

Links are not followed: what somebody gives to be imported leads to no file of ours.
"""

from __future__ import annotations

import os
import re
import stat
from base64 import b64decode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.services.keeping.import_sources import Other, SourceMailbox

MOST_DEEP: Final = DEFAULT_LIMITS.mailbox_depth
NO_MAIL: Final = "no mail that we know to read"
_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")
_OF_MAILDIR: Final = frozenset({"cur", "new", "tmp"})
_NOT_MAIL: Final = frozenset({".dovecot.svbin", "dovecot-keywords", "maildirfolder", "subscriptions"})
"""Files of mail programs that nobody misses."""


class SourceUnreadable(Exception):
    """The path holds no mail that we know to read."""


def find_mailboxes(path: Path) -> list[SourceMailbox]:
    """Return what is to be imported from a file or folder, the mailbox for the path itself first.

    Raises:
        SourceUnreadable: no such path, or nothing in it is mail.
        OSError: it cannot be read.
    """
    if not path.exists():
        raise SourceUnreadable(f"{path} does not exist")
    if path.is_file():
        kind = "mbox" if _is_mbox(path) else "eml"
        found = [SourceMailbox((), (path,), kind, path.stat().st_size)]
    else:
        found = list(_inside(path, ()))
    if not any(mailbox.files for mailbox in found):
        for other in (other for mailbox in found for other in mailbox.others if other.is_fault):
            raise SourceUnreadable(f"{other.name}: {other.reason}")
        raise SourceUnreadable(f"{path} holds no mail: an mbox file, a Maildir or a folder of .eml files is needed")
    return found


def _inside(path: Path, below: tuple[str, ...]) -> Iterator[SourceMailbox]:
    return _maildirs(path, below) if _is_maildir(path) else _folders(path, below)


def _maildirs(path: Path, below: tuple[str, ...]) -> Iterator[SourceMailbox]:
    """Yield a Maildir and what is inside: Maildir++ (".Work.Old") and nested folders alike."""
    files: list[Path] = []
    folders: list[tuple[Path, tuple[str, ...]]] = []
    others: list[Other] = []
    for name in ("cur", "new"):
        for entry, is_folder in _entries(path / name, others) if _is_folder(path / name) else ():
            if is_folder:
                others.append(Other(str(entry), "a folder among messages"))
            else:
                files.append(entry)
    for entry, is_folder in _entries(path, others):
        if entry.name in _OF_MAILDIR or (not is_folder and entry.name in _NOT_MAIL):
            continue
        if not is_folder:
            others.append(Other(str(entry), NO_MAIL))
        elif entry.name.startswith(".") and _is_maildir(entry):
            folders.append((entry, below + tuple(_decoded(part) for part in entry.name[1:].split(".") if part)))
        else:
            folders.append((entry, (*below, _decoded(entry.name))))
    yield _mailbox(below, files, "maildir", others)
    for folder, parts in folders:
        yield from _deeper(folder, parts)


def _folders(path: Path, below: tuple[str, ...]) -> Iterator[SourceMailbox]:
    """Yield a folder's .eml files as one mailbox, its mbox files as one each, and the folders inside."""
    emls: list[Path] = []
    found: list[SourceMailbox] = []
    others: list[Other] = []
    for entry, is_folder in _entries(path, others):
        if is_folder:
            found += _deeper(entry, (*below, entry.name.removesuffix(".sbd")))
        elif entry.suffix.lower() == ".eml":
            emls.append(entry)
        elif entry.name not in _NOT_MAIL and _is_mbox_among(entry, others):
            name = entry.name.removesuffix(".mbox")
            found.append(SourceMailbox((*below, name), (entry,), "mbox", _size(entry)))
    if emls or others:
        yield _mailbox(below, emls, "eml", others)
    yield from found


def _deeper(folder: Path, name: tuple[str, ...]) -> Iterator[SourceMailbox]:
    """Yield what is in a folder, unless no mailbox can lie so deep."""
    if len(name) <= MOST_DEEP:
        yield from _inside(folder, name)
    else:
        yield SourceMailbox(name, (), "eml", 0, (Other(str(folder), f"below {MOST_DEEP} folders", is_fault=True),))


def _entries(folder: Path, others: list[Other]) -> Iterator[tuple[Path, bool]]:
    """Yield the files and folders in a folder by name, each with whether it is one; note what else there is."""
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        others.append(_fault(folder, error))
        return
    for entry in entries:
        try:
            mode = entry.lstat().st_mode
        except OSError as error:
            others.append(_fault(entry, error))
            continue
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            yield entry, stat.S_ISDIR(mode)
        elif stat.S_ISLNK(mode):
            others.append(Other(str(entry), "a link, which is not followed"))
        else:
            others.append(Other(str(entry), "not a regular file"))


def _is_mbox_among(file: Path, others: list[Other]) -> bool:
    """Return whether a file is an mbox; if not, note it."""
    try:
        found = _is_mbox(file)
    except OSError as error:
        others.append(_fault(file, error))
        return False
    if not found:
        others.append(Other(str(file), NO_MAIL))
    return found


def _fault(path: Path, error: OSError) -> Other:
    return Other(str(path), error.strerror or str(error), is_fault=True)


def _is_mbox(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(5) == b"From "


def _is_maildir(path: Path) -> bool:
    return _is_folder(path / "cur") or _is_folder(path / "new")


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _mailbox(path: tuple[str, ...], files: Sequence[Path], kind: str, others: Sequence[Other]) -> SourceMailbox:
    return SourceMailbox(path, tuple(files), kind, sum(map(_size, files)), tuple(others))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _decoded(name: str) -> str:
    """Return a folder's name in Unicode; Maildir++ writes modified UTF-7 (RFC 3501 §5.1.3), others UTF-8."""
    try:
        return _SHIFTED.sub(_unshifted, name) if name.isascii() else os.fsencode(name).decode("utf-8", "replace")
    except ValueError:
        return name


def _unshifted(match: re.Match[str]) -> str:
    encoded = match[1].replace(",", "/")
    return b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode("utf-16-be") if encoded else "&"
