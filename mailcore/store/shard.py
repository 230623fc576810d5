"""One shard: its two databases and a repository for each collection in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pymongo.database import Database

from mailcore.store.client import Document
from mailcore.store.guard import deadline
from mailcore.store.indexes import ensure_indexes
from mailcore.store.mailbox.annotations import Annotations
from mailcore.store.mailbox.blocks import Blocks
from mailcore.store.mailbox.change_events import ChangeEvents
from mailcore.store.mailbox.head_changes import HeadChanges
from mailcore.store.mailbox.heads import Heads
from mailcore.store.mailbox.message_ids import MessageIds
from mailcore.store.mailbox.notes import Notes
from mailcore.store.mailbox.purge import Purge
from mailcore.store.mailbox.row_blocks import RowBlocks
from mailcore.store.mailbox.segments import Segments
from mailcore.store.mailbox.sizes import Sizes
from mailcore.store.mailbox.tree import MailboxTrees
from mailcore.store.mailbox.vanished import Vanished
from mailcore.store.message.audit_pieces import AuditPieces
from mailcore.store.message.blob_refs import BlobRefs
from mailcore.store.message.blobs import Blobs
from mailcore.store.message.chunks import Chunks
from mailcore.store.message.collection import BlobCollector
from mailcore.store.message.messages import Messages
from mailcore.store.room import Room
from mailcore.store.user.auth_log import AuthLogRows
from mailcore.store.user.autoreplies import Autoreplies
from mailcore.store.user.complaints import Complaints
from mailcore.store.user.correspondents import Correspondents
from mailcore.store.user.erasure import Erasure
from mailcore.store.user.export_pieces import ExportPieces
from mailcore.store.user.files import Files
from mailcore.store.user.filter_sets import FilterSets
from mailcore.store.user.outbound import OutboundEntries
from mailcore.store.user.rollups import Rollups
from mailcore.store.user.sending_counts import SendingCounts
from mailcore.store.user.spam_reports import SpamReports
from mailcore.store.user.streams import Streams
from mailcore.store.user.suppressions import Suppressions
from mailcore.store.user.tallies import TallyRows
from mailcore.store.user.trace_rows import TraceRows
from mailcore.store.user.trail import Trail

ANSWER_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class ShardStores:
    """Everything that is stored of the users of one shard."""

    name: str
    hot: Database[Document]
    cold: Database[Document]
    trees: MailboxTrees
    heads: Heads
    sizes: Sizes
    head_changes: HeadChanges
    segments: Segments
    row_blocks: RowBlocks
    vanished: Vanished
    notes: Notes
    annotations: Annotations
    message_ids: MessageIds
    blocks: Blocks
    purge: Purge
    events: ChangeEvents
    trail: Trail
    streams: Streams
    auth_log: AuthLogRows
    spam_reports: SpamReports
    autoreplies: Autoreplies
    filters: FilterSets
    messages: Messages
    blobs: Blobs
    blob_refs: BlobRefs
    chunks: Chunks
    outbound: OutboundEntries
    files: Files
    audit_pieces: AuditPieces
    export_pieces: ExportPieces
    suppressions: Suppressions
    trace: TraceRows
    tallies: TallyRows
    rollups: Rollups
    complaints: Complaints
    sending_counts: SendingCounts
    correspondents: Correspondents
    erasure: Erasure
    room: Room

    @classmethod
    def of(cls, name: str, hot: Database[Document], cold: Database[Document]) -> ShardStores:
        """Build the repositories; nothing is sent yet."""
        return cls(
            name,
            hot,
            cold,
            trees=MailboxTrees(hot),
            heads=Heads(hot),
            sizes=Sizes(hot),
            head_changes=HeadChanges(hot),
            segments=Segments(hot),
            row_blocks=RowBlocks(hot),
            vanished=Vanished(hot),
            notes=Notes(hot),
            annotations=Annotations(hot),
            message_ids=MessageIds(hot),
            blocks=Blocks(hot),
            purge=Purge(hot),
            events=ChangeEvents(hot),
            trail=Trail(hot),
            streams=Streams(hot),
            auth_log=AuthLogRows(hot),
            spam_reports=SpamReports(hot),
            autoreplies=Autoreplies(hot),
            filters=FilterSets(hot, "filters"),
            messages=Messages(hot),
            blobs=Blobs(hot),
            blob_refs=BlobRefs(hot),
            chunks=Chunks(hot, cold),
            outbound=OutboundEntries(hot),
            files=Files(hot),
            audit_pieces=AuditPieces(hot),
            export_pieces=ExportPieces(cold),
            suppressions=Suppressions(hot),
            trace=TraceRows(hot),
            tallies=TallyRows(hot),
            rollups=Rollups(hot),
            complaints=Complaints(hot),
            sending_counts=SendingCounts(hot),
            correspondents=Correspondents(hot),
            erasure=Erasure(hot),
            room=Room(hot),
        )

    def collector(self) -> BlobCollector:
        """Return what removes blobs that nobody refers to."""
        return BlobCollector(self.blobs, self.blob_refs, self.chunks, self.messages, self.outbound, self.files)

    def hot_answers(self) -> None:
        """Make sure that the hot set has a primary that answers; one round trip.

        Raises:
            StoreUnavailable: not within three seconds.
        """
        _check_answers(self.hot)

    def cold_answers(self) -> None:
        """Do so for the cold set."""
        _check_answers(self.cold)

    def ensure_indexes(self) -> None:
        """Create missing collections and indexes on both sets."""
        ensure_indexes(self.hot, self.cold)


def _check_answers(database: Database[Document]) -> None:
    with deadline(ANSWER_S):
        database.command("ping")
