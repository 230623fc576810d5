"""Our names, and a domain, in these tests."""

from __future__ import annotations

from dataclasses import replace

from portal.domains.wanted import ServiceNames

DOMAIN = "example.test"
NAMES = ServiceNames(
    mx_hosts=("mx1.eider.test", "mx2.eider.test"),
    spf_include="_spf.eider.test",
    client_host="mail.eider.test",
    web_host="web.eider.test",
    report_address="reports@eider.test",
)
NAMES_WITH_ZONE = replace(NAMES, dkim_zone="dkim.eider.test")
TOKEN = "3f9a2c71d5e84b60a1c2"
POLICY_ID = "20261126T000000"
