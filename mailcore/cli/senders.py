"""`eider senders`: senders' domains that are always or never spam, for users with a tag."""

from __future__ import annotations

import argparse

from mailcore.cli import Subparsers
from mailcore.cli.connection import connected, operator
from mailcore.cli.table import print_table
from mailcore.cli.values import object_id
from mailcore.model.event import PLATFORM
from mailcore.model.filter import Verdict
from mailcore.model.ids import TenantId
from mailcore.services import MailServices


def register(subparsers: Subparsers) -> None:
    """Add the noun."""
    noun = subparsers.add_parser("senders", help="domains whose mail is always or never spam, by users' tags")
    verbs = noun.add_subparsers(required=True)
    allow = verbs.add_parser("allow", help="mail of a domain is never spam for users with the tag")
    block = verbs.add_parser("block", help="mail of a domain is always spam for users with the tag")
    listing = verbs.add_parser("list", help="both lists for a tag")
    remove = verbs.add_parser("remove", help="take a domain from its list")
    for parser, run in ((allow, run_put), (block, run_put), (listing, run_list), (remove, run_remove)):
        parser.add_argument("--tenant", metavar="NAME", help="whose list; without: for users of every tenant")
        parser.set_defaults(run=run)
    for parser, verdict in ((allow, Verdict.ALLOW), (block, Verdict.BLOCK)):
        parser.add_argument("tag")
        parser.add_argument("domain")
        parser.set_defaults(verdict=verdict)
    listing.add_argument("tag")
    remove.add_argument("id", type=object_id, help="as list shows it")


def run_put(options: argparse.Namespace) -> int:
    """List a domain."""
    with connected() as services:
        owner = _owner(services, options)
        listed = services.domain_access.put(operator(), owner, options.tag, options.verdict, options.domain)
    print(f"{listed.domain} is on the {listed.verdict} list of tag {listed.tag}: {listed.id}")
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print both lists of a tag."""
    with connected() as services:
        owner = _owner(services, options)
        found = [one for verdict in Verdict for one in services.domain_access.list_of(owner, options.tag, verdict)]
    print_table(("ID", "LIST", "DOMAIN"), [(str(one.id), one.verdict.value, one.domain) for one in found])
    return 0


def run_remove(options: argparse.Namespace) -> int:
    """Take a domain from its list."""
    with connected() as services:
        gone = services.domain_access.delete(operator(), _owner(services, options), options.id)
    print(f"{gone.domain} is off the {gone.verdict} list of tag {gone.tag}")
    return 0


def _owner(services: MailServices, options: argparse.Namespace) -> TenantId:
    return PLATFORM if options.tenant is None else services.tenants.get_by_name(options.tenant).id
