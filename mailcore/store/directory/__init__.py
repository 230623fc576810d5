"""The directory: who is who, and where their mail is."""

from __future__ import annotations

from dataclasses import dataclass

from pymongo.database import Database

from mailcore.store.client import Document
from mailcore.store.directory.acme import Acme
from mailcore.store.directory.address_search import AddressSearch
from mailcore.store.directory.addresses import Addresses
from mailcore.store.directory.api_requests import ApiRequests
from mailcore.store.directory.api_tokens import ApiTokens
from mailcore.store.directory.app_passwords import AppPasswords
from mailcore.store.directory.audit_cases import AuditCases
from mailcore.store.directory.certs import Certs
from mailcore.store.directory.deleted_users import DeletedUsers
from mailcore.store.directory.dkim_keys import DkimKeys
from mailcore.store.directory.domain_access import DomainAccess
from mailcore.store.directory.domains import Domains
from mailcore.store.directory.mail_exports import MailExports
from mailcore.store.directory.mta_sts import MtaSts
from mailcore.store.directory.nonces import Nonces
from mailcore.store.directory.onward_targets import StoredTargets
from mailcore.store.directory.pool_use import PoolUse
from mailcore.store.directory.sealed import SealedFields
from mailcore.store.directory.second_factors import SecondFactors
from mailcore.store.directory.send_as import SendAs
from mailcore.store.directory.sending_holds import SendingHolds
from mailcore.store.directory.settings import Settings
from mailcore.store.directory.shards import Shards
from mailcore.store.directory.sign_in_changes import SignInChanges
from mailcore.store.directory.site_settings import SiteSettings
from mailcore.store.directory.tenants import Tenants
from mailcore.store.directory.user_changes import UserChanges
from mailcore.store.directory.user_search import UserSearch
from mailcore.store.directory.users import Users
from mailcore.store.directory.webhooks import Webhooks
from mailcore.store.indexes import ensure_directory_indexes
from mailcore.store.user.filter_sets import FilterSets
from mailcore.store.user.rollups import Rollups
from mailcore.store.user.streams import Streams
from mailcore.store.user.trail import Trail


@dataclass(frozen=True, slots=True)
class Directory:
    """Every repository of the directory database."""

    database: Database[Document]
    shards: Shards
    tenants: Tenants
    pool_use: PoolUse
    domains: Domains
    addresses: Addresses
    address_search: AddressSearch
    users: Users
    user_changes: UserChanges
    user_search: UserSearch
    deleted_users: DeletedUsers
    certs: Certs
    dkim_keys: DkimKeys
    send_as: SendAs
    sending_holds: SendingHolds
    acme: Acme
    sealed: SealedFields
    second_factors: SecondFactors
    targets: StoredTargets
    nonces: Nonces
    trail: Trail
    """Events that concern no tenant; a tenant's are on its shard."""
    streams: Streams
    app_passwords: AppPasswords
    api_tokens: ApiTokens
    api_requests: ApiRequests
    sign_in_changes: SignInChanges
    settings: Settings
    site_settings: SiteSettings
    tenant_filters: FilterSets
    """Rules for all users of a tenant."""
    domain_access: DomainAccess
    mta_sts: MtaSts
    webhooks: Webhooks
    audit_cases: AuditCases
    mail_exports: MailExports
    rollups: Rollups
    """Of the platform; a tenant's are on its shard."""

    @classmethod
    def of(cls, database: Database[Document]) -> Directory:
        """Build the repositories; nothing is sent yet."""
        return cls(
            database,
            Shards(database),
            Tenants(database),
            PoolUse(database),
            Domains(database),
            Addresses(database),
            AddressSearch(database),
            Users(database),
            UserChanges(database),
            UserSearch(database),
            DeletedUsers(database),
            Certs(database),
            DkimKeys(database),
            SendAs(database),
            SendingHolds(database),
            Acme(database),
            SealedFields(database),
            SecondFactors(database),
            StoredTargets(database),
            Nonces(database),
            Trail(database),
            Streams(database),
            AppPasswords(database),
            ApiTokens(database),
            ApiRequests(database),
            SignInChanges(database),
            Settings(database),
            SiteSettings(database),
            FilterSets(database, "tenant_filters"),
            DomainAccess(database),
            MtaSts(database),
            Webhooks(database),
            AuditCases(database),
            MailExports(database),
            Rollups(database),
        )

    def ensure_indexes(self) -> None:
        """Create missing collections and indexes."""
        ensure_directory_indexes(self.database)
