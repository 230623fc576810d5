"""The one door to mail: the bundle of all services, which callers are handed (`services/wiring.py` builds it)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailcore.services.process.background import keeping_up

if TYPE_CHECKING:
    from mailcore.services.accounts.app_passwords import AppPasswords
    from mailcore.services.accounts.auth_log import AuthLog
    from mailcore.services.accounts.authentication import Authentication
    from mailcore.services.accounts.bearers import Bearers
    from mailcore.services.accounts.connections import Connections
    from mailcore.services.accounts.deleted_users import DeletedUsers
    from mailcore.services.accounts.failed_logins import FailedLogins
    from mailcore.services.accounts.last_uses import LastUses
    from mailcore.services.accounts.passkeys import Passkeys
    from mailcore.services.accounts.passwords import Passwords
    from mailcore.services.accounts.people import People
    from mailcore.services.accounts.reauthentication import Reauthentication
    from mailcore.services.accounts.renaming import Renaming
    from mailcore.services.accounts.second_factors import SecondFactors
    from mailcore.services.accounts.sessions import Sessions
    from mailcore.services.accounts.shared_mailboxes import SharedMailboxes
    from mailcore.services.accounts.temporary_passwords import TemporaryPasswords
    from mailcore.services.accounts.tokens import Tokens
    from mailcore.services.accounts.totp import Totp
    from mailcore.services.accounts.usage import Usage
    from mailcore.services.accounts.users import Users
    from mailcore.services.addresses.address_changes import AddressChanges
    from mailcore.services.addresses.address_listing import AddressListing
    from mailcore.services.addresses.addresses import Addresses
    from mailcore.services.addresses.domain_access import DomainAccess
    from mailcore.services.addresses.domain_documents import DomainDocuments
    from mailcore.services.addresses.domains import Domains
    from mailcore.services.addresses.forwarded_addresses import ForwardedAddresses
    from mailcore.services.addresses.groups import Groups
    from mailcore.services.addresses.onward_targets import ConfirmedTargets
    from mailcore.services.addresses.resolution import Resolutions
    from mailcore.services.content.composing import Composing
    from mailcore.services.content.content import ContentStore
    from mailcore.services.content.encryption import Encryptions
    from mailcore.services.content.files import Files
    from mailcore.services.events.audit import Audit
    from mailcore.services.events.events import Events
    from mailcore.services.events.journal import Journal
    from mailcore.services.events.updates import Updates
    from mailcore.services.events.webhooks import Webhooks
    from mailcore.services.inbound.autoreplies import Autoreplies
    from mailcore.services.inbound.correspondents import Correspondents
    from mailcore.services.inbound.delivery import Delivery
    from mailcore.services.inbound.filter_listing import FilterListing
    from mailcore.services.inbound.filters import Filters
    from mailcore.services.inbound.scripts import Scripts
    from mailcore.services.inbound.spam import Spam
    from mailcore.services.inbound.spam_reports import SpamReports
    from mailcore.services.keeping.archive import Archive
    from mailcore.services.keeping.audits import Audits
    from mailcore.services.keeping.data_export import DataExport
    from mailcore.services.keeping.data_import import DataImport
    from mailcore.services.keeping.fsck import Fsck
    from mailcore.services.keeping.imports import Imports
    from mailcore.services.keeping.mail_archive import MailArchive
    from mailcore.services.keeping.mail_exports import MailExports
    from mailcore.services.keeping.restoring import Restoring
    from mailcore.services.keeping.retention import Retention
    from mailcore.services.mailboxes.expiry import Expiry
    from mailcore.services.mailboxes.label_changes import LabelChanges
    from mailcore.services.mailboxes.labels import Labels
    from mailcore.services.mailboxes.listings import Listings
    from mailcore.services.mailboxes.mailboxes import Mailboxes
    from mailcore.services.mailboxes.messages import Messages
    from mailcore.services.mailboxes.metadata import Metadata
    from mailcore.services.mailboxes.notices import Notices, Spawn
    from mailcore.services.mailboxes.sharing import Sharing
    from mailcore.services.outbound.authoritative_dns import AuthoritativeDns
    from mailcore.services.outbound.dkim import Dkim
    from mailcore.services.outbound.dkim_keys import DkimKeys
    from mailcore.services.outbound.dns import Dns
    from mailcore.services.outbound.feedback import Feedback
    from mailcore.services.outbound.identities import Identities
    from mailcore.services.outbound.outbound import Outbound
    from mailcore.services.outbound.outbound_work import OutboundWork
    from mailcore.services.outbound.posts import Posts
    from mailcore.services.outbound.queueing import Queueing
    from mailcore.services.outbound.reputation import Reputation
    from mailcore.services.outbound.sending import Sending
    from mailcore.services.outbound.sending_holds import SendingHolds
    from mailcore.services.outbound.slots import Slots
    from mailcore.services.outbound.smarthosts import Smarthosts
    from mailcore.services.outbound.sts_policies import StsPolicies
    from mailcore.services.outbound.submission import Submission
    from mailcore.services.outbound.suppressions import Suppressions
    from mailcore.services.outbound.trace import Trace
    from mailcore.services.process.api_requests import ApiRequests
    from mailcore.services.process.jobs import Jobs
    from mailcore.services.process.offload import Offload
    from mailcore.services.process.redis_link import RedisLink
    from mailcore.services.search.paged_search import PagedSearch
    from mailcore.services.search.search import Search
    from mailcore.services.search.sorting import Sorting
    from mailcore.services.tenants.platform_tallies import PlatformTallies
    from mailcore.services.tenants.pools import Pools
    from mailcore.services.tenants.quotas import Quotas
    from mailcore.services.tenants.rollups import Rollups
    from mailcore.services.tenants.shards import Shards
    from mailcore.services.tenants.site_settings import SiteSettings
    from mailcore.services.tenants.tallies import Tallies
    from mailcore.services.tenants.tenants import Tenants
    from mailcore.services.trust.acme import Acme
    from mailcore.services.trust.certificate_listing import CertificateListing
    from mailcore.services.trust.certificates import Certificates
    from mailcore.services.trust.host_certificates import HostCertificates
    from mailcore.services.trust.mobileconfig import MobileConfigs
    from mailcore.services.trust.rotation import Rotation
    from mailcore.services.trust.sealing import Sealing
    from mailcore.settings import MailSettings
    from mailcore.store.client import Clients
    from mailcore.store.placement import Placement


@dataclass(frozen=True, slots=True)
class MailServices:
    """Every service of one process."""

    settings: MailSettings
    offload: Offload
    shards: Shards
    tenants: Tenants
    domains: Domains
    dns: Dns
    pools: Pools
    authoritative_dns: AuthoritativeDns
    users: Users
    deleted_users: DeletedUsers
    people: People
    renaming: Renaming
    shared_mailboxes: SharedMailboxes
    addresses: Addresses
    address_changes: AddressChanges
    address_listing: AddressListing
    correspondents: Correspondents
    forwarded_addresses: ForwardedAddresses
    groups: Groups
    resolutions: Resolutions
    authentication: Authentication
    passwords: Passwords
    app_passwords: AppPasswords
    temporary_passwords: TemporaryPasswords
    tokens: Tokens
    bearers: Bearers
    api_requests: ApiRequests
    sessions: Sessions
    last_uses: LastUses
    failed_logins: FailedLogins
    connections: Connections
    usage: Usage
    autoreplies: Autoreplies
    encryptions: Encryptions
    reauthentication: Reauthentication
    second_factors: SecondFactors
    totp: Totp
    passkeys: Passkeys
    auth_log: AuthLog
    certificates: Certificates
    certificate_listing: CertificateListing
    mobile_configs: MobileConfigs
    domain_documents: DomainDocuments
    acme: Acme
    host_certificates: HostCertificates
    dkim: Dkim
    dkim_keys: DkimKeys
    identities: Identities
    submission: Submission
    files: Files
    composing: Composing
    sending: Sending
    sealing: Sealing
    rotation: Rotation
    placement: Placement
    audit: Audit
    events: Events
    mailboxes: Mailboxes
    sharing: Sharing
    metadata: Metadata
    messages: Messages
    labels: Labels
    label_changes: LabelChanges
    content: ContentStore
    search: Search
    paged_search: PagedSearch
    sorting: Sorting
    listings: Listings
    filters: Filters
    filter_listing: FilterListing
    scripts: Scripts
    targets: ConfirmedTargets
    domain_access: DomainAccess
    journal: Journal
    delivery: Delivery
    spam: Spam
    spam_reports: SpamReports
    imports: Imports
    fsck: Fsck
    quotas: Quotas
    jobs: Jobs
    notices: Notices
    retention: Retention
    restoring: Restoring
    archive: Archive
    expiry: Expiry
    queueing: Queueing
    outbound: Outbound
    outbound_work: OutboundWork
    smarthosts: Smarthosts
    sts_policies: StsPolicies
    slots: Slots
    suppressions: Suppressions
    feedback: Feedback
    reputation: Reputation
    sending_holds: SendingHolds
    posts: Posts
    trace: Trace
    tallies: Tallies
    rollups: Rollups
    platform_tallies: PlatformTallies
    site_settings: SiteSettings
    updates: Updates
    webhooks: Webhooks
    audits: Audits
    data_export: DataExport
    data_import: DataImport
    mail_archive: MailArchive
    mail_exports: MailExports
    _clients: Clients
    _link: RedisLink

    def start(self, spawn: Spawn) -> None:
        """Begin the background work of a server process, each part in a greenlet or thread that `spawn` makes.

        What goes on for ever begins anew after a fault: without it sessions would not end and limits not hold.
        """
        kept_up = keeping_up(spawn)
        self._link.start(kept_up)
        self.notices.start(kept_up)
        self.sessions.start(kept_up)
        self.connections.start(kept_up)
        self.usage.start(kept_up)
        self.auth_log.start(kept_up)
        self.trace.start(kept_up)
        self.reputation.start(kept_up)
        self.tallies.start(kept_up)
        self.site_settings.start(kept_up)

    def close(self) -> None:
        """End background work and close every connection."""
        self.sessions.close()
        self.notices.close()
        self.usage.close()
        self.connections.close()
        self.auth_log.close()
        self.trace.close()
        self.reputation.close()
        self.tallies.close()
        self.site_settings.close()
        self._clients.close()
        self._link.close()
