"""Every module with tables, so that migrations see all of them: a feature adds its line."""

from portal.accounts import models as accounts
from portal.audit import models as audit
from portal.billing import models as billing
from portal.database import Base
from portal.domains import models as domains
from portal.people import models as people
from portal.staff import models as staff

MODULES = (accounts, audit, billing, domains, people, staff)
METADATA = Base.metadata
