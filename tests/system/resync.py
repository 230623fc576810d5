"""Coming back to a mailbox with what one knew of it: QRESYNC (RFC 7162 §3.2.5), compared with a look at everything."""

from __future__ import annotations

from dataclasses import dataclass

from tests.system.tracked_session import TrackedSession


@dataclass(frozen=True)
class Known:
    """A mailbox as a client left it."""

    uid_validity: int
    modseq: int
    flags: dict[int, frozenset[bytes]]


def enable_qresync(session: TrackedSession) -> None:
    """From now on removals come as VANISHED."""
    assert session.run(b"ENABLE QRESYNC")[0].kind == b"OK"
    session.view.vanishes = True


def remember(session: TrackedSession, *, asks: bool) -> Known | None:
    """What the session knows of its mailbox; who asks first is told all, and so may count on MODSEQ of messages.

    A client that was told of messages whose UIDs it never asked for does not know enough to come back with.
    """
    view = session.view
    settled = asks and session.run(b"NOOP")[0].kind == b"OK"
    modseq = max([view.highest_modseq, *(seen.modseq for seen in view.messages)]) if settled else view.highest_modseq
    session.learn()
    flags = {seen.uid: seen.flags for seen in view.messages if seen.uid is not None and seen.flags is not None}
    return Known(view.uid_validity, modseq, flags) if len(flags) == len(view.messages) else None


def resynchronise(session: TrackedSession, name: str, known: Known) -> tuple[bool, bool]:
    """Select with QRESYNC; then what is known by increments must be what a fetch of everything has.

    Returns whether it could be selected, and whether there was any news.
    """
    view = session.view
    session.name = name
    command = b"SELECT %b (QRESYNC (%d %d))" % (name.encode(), known.uid_validity, known.modseq)
    done, others = session.run(command)
    if done.kind != b"OK":
        return False, False
    if view.uid_validity != known.uid_validity:
        session.learn()
        return True, False
    flags = dict(known.flags)
    news = False
    for response in others:
        if response.kind == b"VANISHED":
            news = True
            for low, high in response.value[1]:
                flags = {uid: value for uid, value in flags.items() if not low <= uid <= high}
        elif response.kind == b"FETCH":
            news = True
            flags[response.value[b"UID"]] = frozenset(response.value[b"FLAGS"])
    counts = [response.number for response in others if response.kind == b"EXISTS"]
    uids = sorted(flags)
    arrived = len(view.messages) - len(uids)  # while it was selected: told by another EXISTS, without their UIDs
    if arrived < 0 or (arrived and len(counts) == 1):
        view.fault(f"{len(uids)} by increments, EXISTS {counts}, {known}", command)
        return True, news
    moved = len(counts) > 1 or any(response.kind == b"VANISHED" and not response.value[0] for response in others)
    for response in others:
        number = response.number or 0
        if response.kind == b"FETCH" and not moved and uids[number - 1 : number] != [response.value[b"UID"]]:
            view.fault(f"number {number} is not UID {response.value[b'UID']} of {uids}", command)
    for seen in view.messages:
        seen.uid = seen.flags = None
    if view.messages:
        _compare_with_all(session, flags, command)
    return True, news


def _compare_with_all(session: TrackedSession, flags: dict[int, frozenset[bytes]], command: bytes) -> None:
    view = session.view
    count = len(view.messages)
    _, others = session.run(b"FETCH 1:%d (UID FLAGS MODSEQ)" % count)
    full: dict[int, frozenset[bytes]] = {}
    for response in others:
        if response.kind == b"FETCH":
            full.setdefault(response.value[b"UID"], frozenset(response.value[b"FLAGS"]))  # the first; news may follow
    late = {uid: value for uid, value in full.items() if uid > max(flags, default=0)}
    if full != flags | late or len(late) != count - len(flags):
        differ = {uid: (flags.get(uid), full.get(uid)) for uid in full.keys() | flags.keys()}
        wrong = {uid: pair for uid, pair in differ.items() if pair[0] != pair[1]}
        view.fault(f"by increments and in full differ: {wrong}", command)
