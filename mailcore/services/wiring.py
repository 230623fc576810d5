"""Wiring: which service is built of which others."""

from __future__ import annotations

from mailcore.model.tenant import Tenant
from mailcore.services import MailServices
from mailcore.services.accounts.app_passwords import AppPasswords
from mailcore.services.accounts.auth_log import AuthLog, LoggedGuard
from mailcore.services.accounts.authentication import Authentication
from mailcore.services.accounts.bearers import Bearers
from mailcore.services.accounts.connections import Connections
from mailcore.services.accounts.credential_key import CredentialKey
from mailcore.services.accounts.deleted_users import DeletedUsers
from mailcore.services.accounts.failed_logins import FailedLogins
from mailcore.services.accounts.last_uses import LastUses
from mailcore.services.accounts.leaked_passwords import LeakedPasswords
from mailcore.services.accounts.passkeys import Passkeys
from mailcore.services.accounts.passwords import Passwords
from mailcore.services.accounts.people import People
from mailcore.services.accounts.reauthentication import Reauthentication
from mailcore.services.accounts.recent_users import RecentUsers
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
from mailcore.services.addresses.forward_cycles import ForwardCycles
from mailcore.services.addresses.forwarded_addresses import ForwardedAddresses
from mailcore.services.addresses.groups import Groups
from mailcore.services.addresses.onward_addresses import OnwardAddresses
from mailcore.services.addresses.onward_targets import KEY_NAME as CONFIRMATION_KEY_NAME
from mailcore.services.addresses.onward_targets import ConfirmedTargets
from mailcore.services.addresses.resolution import Resolutions
from mailcore.services.content.composing import Composing
from mailcore.services.content.content import ContentStore
from mailcore.services.content.encryption import Encryptions
from mailcore.services.content.files import Files
from mailcore.services.content.originals import Originals
from mailcore.services.events.audit import Audit
from mailcore.services.events.events import Events
from mailcore.services.events.journal import Journal
from mailcore.services.events.updates import Updates
from mailcore.services.events.webhooks import Webhooks
from mailcore.services.inbound.arc import Arc
from mailcore.services.inbound.autoreplies import Autoreplies
from mailcore.services.inbound.bounces import Bounces
from mailcore.services.inbound.correspondents import Correspondents
from mailcore.services.inbound.delivery import Delivery
from mailcore.services.inbound.filing import Filer
from mailcore.services.inbound.filter_changes import FilterChanges
from mailcore.services.inbound.filter_listing import FilterListing
from mailcore.services.inbound.filters import Filters
from mailcore.services.inbound.forwarding import KEY_NAME, Forwarding
from mailcore.services.inbound.inbound import Inbound
from mailcore.services.inbound.onward import Onward
from mailcore.services.inbound.responder import Responder
from mailcore.services.inbound.scripts import Scripts
from mailcore.services.inbound.spam import Spam
from mailcore.services.inbound.spam_reports import SpamReports
from mailcore.services.inbound.srs import Srs
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
from mailcore.services.mailboxes.notices import Notices
from mailcore.services.mailboxes.sharing import Sharing
from mailcore.services.outbound.authoritative_dns import AuthoritativeDns
from mailcore.services.outbound.dkim import Dkim
from mailcore.services.outbound.dkim_keys import DkimKeys
from mailcore.services.outbound.dns import Dns
from mailcore.services.outbound.feedback import Feedback
from mailcore.services.outbound.identities import Identities
from mailcore.services.outbound.origin_marks import KEY_NAME as ORIGIN_KEY_NAME
from mailcore.services.outbound.origin_marks import OriginMarks
from mailcore.services.outbound.outbound import Outbound
from mailcore.services.outbound.outbound_content import OutboundContent
from mailcore.services.outbound.outbound_work import OutboundWork
from mailcore.services.outbound.posts import Posts
from mailcore.services.outbound.queueing import Queueing
from mailcore.services.outbound.reputation import Reputation
from mailcore.services.outbound.sending import Sending
from mailcore.services.outbound.sending_holds import SendingHolds
from mailcore.services.outbound.sent_copies import SentCopies
from mailcore.services.outbound.slots import Slots
from mailcore.services.outbound.smarthosts import Smarthosts
from mailcore.services.outbound.sts_policies import StsPolicies
from mailcore.services.outbound.submission import Submission
from mailcore.services.outbound.suppressions import Suppressions
from mailcore.services.outbound.trace import Trace
from mailcore.services.process.api_requests import ApiRequests
from mailcore.services.process.heavy_work import HeavyWork
from mailcore.services.process.jobs import Jobs
from mailcore.services.process.offload import InlineOffload, Offload
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
from mailcore.services.tenants.tenants import Tenants, content_key_purpose
from mailcore.services.trust.acme import Acme
from mailcore.services.trust.certificate_listing import CertificateListing
from mailcore.services.trust.certificates import Certificates
from mailcore.services.trust.host_certificates import HostCertificates
from mailcore.services.trust.mobileconfig import MobileConfigs
from mailcore.services.trust.rotation import Rotation
from mailcore.services.trust.sealing import Sealing
from mailcore.services.trust.system_key import SystemKey
from mailcore.settings import MailSettings
from mailcore.store.client import Clients
from mailcore.store.directory import Directory
from mailcore.store.mailbox.view_cache import ViewCache
from mailcore.store.placement import Placement


def connect(settings: MailSettings, offload: Offload | None = None) -> MailServices:  # noqa: PLR0915  a list of parts
    """Build every service; connections are made when first used, so an unreachable database is no error here.

    Raises:
        UriInvalid: the directory's URI is none.
        WeakSettings: it asks for weaker settings than the promises need.
    """
    offload = offload or InlineOffload()
    clients = Clients(settings.secrets)
    directory = Directory.of(clients.database(settings.mongo_uri.reveal_text()))
    sealing = Sealing(settings.sealing_keys)

    def open_key(tenant: Tenant) -> bytes:
        return sealing.open(content_key_purpose(tenant.id), tenant.content_key)

    placement = Placement(directory, clients, open_key, user_limits=settings.limits.user)
    audit = Audit(directory, placement)
    tallies = Tallies(placement)
    auth_log = AuthLog(placement, audit, tallies=tallies)
    certificates = Certificates(directory, sealing, audit)
    views = ViewCache()
    notices = Notices(settings.redis_url.reveal_text() if settings.redis_url else None, placement, views)
    quotas = Quotas(placement)
    heavy = HeavyWork()
    content = ContentStore(placement, offload, settings.limits)
    search = Search(placement, content, offload, heavy)
    mailboxes = Mailboxes(placement, views, notices, audit, offload)
    uses = LastUses(directory)
    recent_users = RecentUsers(placement)
    sessions = Sessions(directory, placement, notices, uses, recent_users)
    credential_key = CredentialKey(directory, sealing)
    app_passwords = AppPasswords(directory, placement, credential_key, sessions, settings.limits, audit)
    temporary_passwords = TemporaryPasswords(directory, credential_key, audit)
    encryptions = Encryptions(directory, placement, audit, sessions, offload)
    messages = Messages(placement, mailboxes, views, notices, quotas, content, offload, encryptions)
    addresses = Addresses(directory, audit, sessions)
    onward = OnwardAddresses(directory, addresses, audit, settings.limits.routing)
    passwords = Passwords(offload, leaked=LeakedPasswords(settings.leaked_passwords_url))
    tenants = Tenants(directory, placement, sealing, audit, sessions)
    cycles = ForwardCycles(directory, placement)
    link = RedisLink(settings.redis_url)
    usage = Usage(link, placement, sending=settings.limits.sending)
    confirmation_key = SystemKey(directory, sealing, CONFIRMATION_KEY_NAME)
    targets = ConfirmedTargets(
        directory, placement, audit, sessions, usage, Jobs(link), confirmation_key.get, settings.limits
    )
    users = Users(directory, placement, addresses, passwords, mailboxes, audit, sessions, cycles, targets)
    tokens = Tokens(directory, tenants, users, sessions, audit)
    learn_url, learn_password = settings.rspamd_learn_url, settings.rspamd_password
    spam_reports = SpamReports(placement, mailboxes, content, learn_url, learn_password)
    connections = Connections(link)
    trace = Trace(placement, tallies)
    outbound_content = OutboundContent(offload, settings.limits)
    queueing = Queueing(placement, outbound_content, trace, link, settings.limits)
    dns = Dns(settings.dns)
    filter_changes = FilterChanges(directory, placement, sessions)
    filters = Filters(filter_changes, placement, mailboxes, cycles, targets, audit, settings.limits, offload)
    reputation = Reputation(directory, placement)
    autoreplies = Autoreplies(directory, placement, audit, sessions)
    events = Events(directory, placement, spam_reports.note)
    forward_key = SystemKey(directory, sealing, KEY_NAME)
    dkim = Dkim(directory, sealing, offload)
    own_domain = settings.own_domain
    srs = Srs(own_domain, forward_key.get)
    resolutions = Resolutions(
        directory, placement, settings.limits.routing, Bounces(srs, directory, placement), settings.feedback_addresses
    )
    arc = Arc(dkim, offload, own_domain, settings.hostname)
    forwarding = Forwarding(queueing, usage, srs, arc, forward_key, encryptions)
    responder = Responder(queueing, usage, dkim, settings.hostname)
    marks = OriginMarks(SystemKey(directory, sealing, ORIGIN_KEY_NAME).get)
    suppressions = Suppressions(placement, audit, settings.limits.outbound)
    feedback = Feedback(
        placement, marks, trace, suppressions, audit, reputation, settings.hostname, settings.feedback_reporters
    )
    filer = Filer(placement, content, mailboxes, messages)
    domain_access = DomainAccess(directory, placement, audit, sessions, settings.limits)
    inbound = Inbound(
        directory,
        mailboxes,
        filters,
        domain_access,
        forwarding,
        targets,
        autoreplies,
        responder,
        offload,
        settings.hostname,
    )
    onward_mail = Onward(directory, placement, queueing, usage, forwarding, responder)
    failed_logins = FailedLogins(link, settings.limits.logins, connections=connections)
    authentication = Authentication(
        directory,
        placement,
        passwords,
        app_passwords,
        temporary_passwords,
        tokens,
        uses,
        recent_users,
        LoggedGuard(failed_logins, auth_log),
    )
    identities = Identities(directory, placement, audit)
    journal = Journal(directory, placement, content, mailboxes, messages, audit, sessions)
    sent_copies = SentCopies(placement, mailboxes, messages, content, quotas, encryptions)
    confirming = Reauthentication(directory, authentication)
    factor_limits = settings.limits.second_factors
    correspondents = Correspondents(placement, audit)
    submission = Submission(
        placement,
        identities,
        dkim,
        queueing,
        sent_copies,
        usage,
        journal,
        audit,
        marks,
        correspondents,
        reputation,
        settings.hostname,
    )
    labels = Labels(mailboxes)
    restoring = Restoring(placement, mailboxes, messages, quotas)
    files = Files(placement, audit, offload, settings.limits)
    originals = Originals(mailboxes, content, messages)
    sending = Sending(
        placement, mailboxes, messages, content, quotas, originals, files, submission, sent_copies, forwarding, usage
    )
    second_factors = SecondFactors(directory, confirming, audit, factor_limits, sessions)
    deleted_users = DeletedUsers(directory, placement, addresses, sessions, audit, offload, settings.limits)
    pools = Pools(directory, placement, audit)
    domains = Domains(directory, audit, dns, settings.mx_hosts)
    client_host = settings.client_host or settings.hostname
    data_export = DataExport(users, addresses, filters, mailboxes, content, audit)
    mail_archive = MailArchive(data_export, mailboxes, content)
    return MailServices(
        settings=settings,
        offload=offload,
        shards=Shards(directory, placement, audit),
        tenants=tenants,
        domains=domains,
        dns=dns,
        pools=pools,
        authoritative_dns=AuthoritativeDns(dns, settings.outgoing),
        users=users,
        deleted_users=deleted_users,
        people=People(directory, placement),
        renaming=Renaming(directory, placement, users, addresses, audit),
        shared_mailboxes=SharedMailboxes(directory, placement, users, mailboxes, identities, sessions, audit),
        addresses=addresses,
        address_changes=AddressChanges(directory, placement, addresses, audit, sessions),
        address_listing=AddressListing(directory),
        correspondents=correspondents,
        forwarded_addresses=ForwardedAddresses(directory, onward),
        groups=Groups(directory, onward),
        resolutions=resolutions,
        authentication=authentication,
        passwords=passwords,
        app_passwords=app_passwords,
        temporary_passwords=temporary_passwords,
        tokens=tokens,
        bearers=Bearers(directory, tokens, uses),
        api_requests=ApiRequests(directory, sealing),
        sessions=sessions,
        last_uses=uses,
        failed_logins=failed_logins,
        connections=connections,
        usage=usage,
        autoreplies=autoreplies,
        encryptions=encryptions,
        reauthentication=confirming,
        second_factors=second_factors,
        totp=Totp(directory, sealing, second_factors, confirming, audit, factor_limits),
        passkeys=Passkeys(directory, second_factors, confirming, audit, factor_limits),
        auth_log=auth_log,
        certificates=certificates,
        certificate_listing=CertificateListing(directory),
        mobile_configs=MobileConfigs(certificates, offload, client_host, settings.client_ports),
        domain_documents=DomainDocuments(domains, settings.exchangers, client_host, settings.client_ports),
        acme=Acme(directory, sealing, certificates, audit, settings.acme, settings.limits.host_certificates_per_run),
        host_certificates=HostCertificates(directory, audit, has_authority=settings.acme is not None),
        dkim=dkim,
        dkim_keys=DkimKeys(directory, sealing, dkim, audit, offload, settings.limits),
        identities=identities,
        submission=submission,
        files=files,
        composing=Composing(originals, files, offload, settings.limits),
        sending=sending,
        sealing=sealing,
        rotation=Rotation(directory.sealed, sealing, audit),
        placement=placement,
        audit=audit,
        events=events,
        mailboxes=mailboxes,
        sharing=Sharing(mailboxes, audit),
        metadata=Metadata(placement, mailboxes, notices, audit),
        messages=messages,
        labels=labels,
        label_changes=LabelChanges(mailboxes, messages, labels, restoring),
        content=content,
        search=search,
        paged_search=PagedSearch(search),
        sorting=Sorting(placement, content, offload, heavy),
        listings=Listings(placement, content, offload),
        filters=filters,
        filter_listing=FilterListing(placement),
        scripts=Scripts(filter_changes, targets, audit, settings.limits, offload),
        targets=targets,
        domain_access=domain_access,
        journal=journal,
        delivery=Delivery(
            resolutions,
            directory,
            placement,
            content,
            filer,
            quotas,
            inbound,
            onward_mail,
            journal,
            usage,
            feedback,
            encryptions,
            tallies,
        ),
        spam=Spam(settings),
        spam_reports=spam_reports,
        imports=Imports(placement, mailboxes, messages, content, quotas, encryptions, settings.limits),
        fsck=Fsck(directory, placement, mailboxes, messages, content, audit),
        quotas=quotas,
        jobs=Jobs(link),
        notices=notices,
        restoring=restoring,
        archive=Archive(restoring, mailboxes, quotas),
        expiry=Expiry(placement, mailboxes, messages),
        queueing=queueing,
        outbound=Outbound(placement, outbound_content, audit, trace, queueing, settings.limits),
        outbound_work=OutboundWork(outbound_content, settings.limits.outbound),
        smarthosts=Smarthosts(directory, placement, sealing, audit, settings.smarthost),
        sts_policies=StsPolicies(directory),
        slots=Slots(link, settings.limits.outbound.connections_per_destination),
        suppressions=suppressions,
        feedback=feedback,
        reputation=reputation,
        posts=Posts(placement),
        sending_holds=SendingHolds(directory, placement, audit, reputation, queueing, settings.limits),
        trace=trace,
        data_export=data_export,
        mail_archive=mail_archive,
        mail_exports=MailExports(placement, mail_archive, audit, usage, settings.limits.exports_per_day),
        tallies=tallies,
        rollups=Rollups(directory, placement, pools),
        platform_tallies=PlatformTallies(directory, placement),
        data_import=DataImport(
            users, deleted_users, domains, addresses, filters, targets, mailboxes, messages, settings.limits
        ),
        audits=Audits(placement, mailboxes, restoring, content, audit),
        webhooks=Webhooks(directory, events, sealing, audit),
        updates=Updates(placement, mailboxes, notices, connections),
        site_settings=SiteSettings(directory, placement, audit, settings.limits.user),
        retention=Retention(directory, placement, messages, offload, audit),
        _clients=clients,
        _link=link,
    )
