"""What is said to people about a record: one sentence for each advice, with what to change."""

from __future__ import annotations

from typing import Final

from portal.domains.records import Advice, Verdict


def N_(text: str) -> str:  # noqa: N802  the name that catalogues are made by
    """Mark a sentence for translation."""
    return text


SENTENCES: Final = {
    Advice.NONE: N_("As it should be."),
    Advice.NOT_FOUND: N_("There is no %(type)s record at %(name)s yet: add the one shown here."),
    Advice.NOT_REGISTERED: N_("%(domain)s has no name servers: register the domain, or check how it is written."),
    Advice.NOBODY_ANSWERED: N_("No name server answered (%(servers)s): nothing is changed, we ask again soon."),
    Advice.SERVERS_REFUSE: N_(
        "The name servers %(servers)s refuse to speak for %(domain)s: check at your registrar which ones are entered."
    ),
    Advice.SERVERS_DISAGREE: N_(
        "%(servers)s still says the old, other name servers the new: wait up to %(minutes)s minutes and change nothing."
    ),
    Advice.DOUBLED_NAME: N_(
        "The record is at %(doubled)s, as your DNS host adds the domain itself: enter only %(relative)s as its name."
    ),
    Advice.DOUBLED_TARGET: N_(
        "The target became %(doubled)s, as your DNS host added the domain: enter %(target)s. with a dot at the end."
    ),
    Advice.APEX_ALIAS: N_(
        "A CNAME at %(domain)s itself, to %(target)s, hides every other record: replace it by an A or ALIAS record."
    ),
    Advice.ALIAS_IN_THE_WAY: N_(
        "A CNAME at %(name)s, to %(target)s, keeps the %(type)s record from being seen: remove that CNAME."
    ),
    Advice.QUOTES_INSIDE: N_(
        "Quotes or backslashes were entered as part of the text at %(name)s: enter it without them."
    ),
    Advice.SPLIT_TEXT: N_(
        "The text at %(name)s was cut into several records: enter it as one record, without a break."
    ),
    Advice.CUT_OFF: N_("The text at %(name)s ends too early: enter it whole; it is longer than 255 characters."),
    Advice.OTHER_TOKEN: N_("%(name)s has the token of an earlier attempt: replace it by the one shown here."),
    Advice.NO_MAIL_WANTED: N_('The MX record "." says that %(domain)s wants no mail: replace it by ours.'),
    Advice.MX_ELSEWHERE: N_("Mail still goes to %(provider)s (%(hosts)s): replace those MX records by ours."),
    Advice.MX_MIXED: N_("Part of the mail goes to %(provider)s: remove the MX records of %(hosts)s."),
    Advice.MX_LEFTOVER: N_(
        "%(hosts)s of %(provider)s is left as a second choice: remove it, mail there would be lost."
    ),
    Advice.MX_INCOMPLETE: N_(
        "An MX record is missing: add %(hosts)s too, so that mail finds a way while a host is away."
    ),
    Advice.SECOND_SPF: N_(
        "There are %(count)s SPF records, so receivers take none of them: replace them by this one: %(merged)s"
    ),
    Advice.SPF_WITHOUT_US: N_("The SPF record does not name us: replace it by %(merged)s"),
    Advice.SPF_AFTER_ALL: N_(
        "In the SPF record we are named behind “all”, where nobody reads on: replace it by %(merged)s"
    ),
    Advice.SPF_LOOKUPS: N_(
        "The SPF record needs %(count)s look-ups, and receivers stop at %(most)s: remove an include of a service "
        "that you do not use any more."
    ),
    Advice.SPF_EVERYBODY: N_(
        "The SPF record ends in “+all”, so everybody may send as %(domain)s: write “~all” in its place."
    ),
    Advice.SPF_SYNTAX: N_("The SPF record has a part that nobody understands, “%(term)s”: remove or correct it."),
    Advice.SPF_LEFTOVER: N_(
        "As it should be; if you do not send through %(provider)s any more, take “%(term)s” out of the record."
    ),
    Advice.SECOND_POLICY: N_("There are %(count)s such records at %(name)s, so none counts: leave one of them."),
    Advice.POLICY_INVALID: N_("The record at %(name)s is not valid: replace it by %(value)s"),
    Advice.OLD_POLICY_ID: N_(
        "The id at %(name)s is not that of the present policy: replace the record by the one shown."
    ),
    Advice.DKIM_OTHER_KEY: N_("Another key is at %(name)s: replace it by the one shown here."),
    Advice.DKIM_REVOKED: N_(
        "The key at %(name)s is empty, which declares it revoked: replace it by the one shown here."
    ),
    Advice.DKIM_SECOND_KEY: N_("There is a second key at %(name)s: remove every record there but the one shown here."),
    Advice.PROXIED: N_(
        "%(name)s is answered by the proxy of %(proxy)s: switch the proxy off for this record (“DNS only”)."
    ),
    Advice.ADDRESS_INSTEAD: N_(
        "%(name)s has addresses of its own (%(addresses)s): remove them and add a CNAME to %(target)s."
    ),
    Advice.OTHER_TARGET: N_("%(name)s leads to %(published)s: let it lead to %(target)s"),
    Advice.LEFTOVER_TARGET: N_(
        "%(name)s still leads to %(published)s of %(provider)s: replace that record, else mail programs go on there."
    ),
}


def sentence(verdict: Verdict) -> str:
    """Return the sentence in English."""
    return SENTENCES[verdict.advice] % verdict.values
