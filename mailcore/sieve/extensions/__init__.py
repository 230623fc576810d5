"""THE table of extensions; one file each."""

from __future__ import annotations

from mailcore.sieve.comparators import COMPARATORS
from mailcore.sieve.extensions import (
    body,
    copy,
    date,
    duplicate,
    editheader,
    encoded_character,
    envelope,
    environment,
    fileinto,
    imap4flags,
    index,
    mailbox,
    mailboxid,
    regex,
    reject,
    relational,
    rules,
    spamtest,
    special_use,
    subaddress,
    vacation,
    variables,
)
from mailcore.sieve.forms import Extension

EXTENSIONS: dict[str, Extension] = {
    extension.name: extension
    for extension in (
        fileinto.EXTENSION,
        reject.REJECT,
        reject.EREJECT,
        envelope.EXTENSION,
        encoded_character.EXTENSION,
        variables.EXTENSION,
        relational.EXTENSION,
        regex.EXTENSION,
        imap4flags.EXTENSION,
        copy.EXTENSION,
        vacation.VACATION,
        vacation.VACATION_SECONDS,
        body.EXTENSION,
        subaddress.EXTENSION,
        date.EXTENSION,
        index.EXTENSION,
        editheader.EXTENSION,
        mailbox.EXTENSION,
        mailboxid.EXTENSION,
        special_use.EXTENSION,
        duplicate.EXTENSION,
        environment.EXTENSION,
        spamtest.SPAMTEST,
        spamtest.SPAMTESTPLUS,
        rules.EXTENSION,
        *(Extension(f"comparator-{name}") for name in COMPARATORS),
    )
}
"""By the name that `require` takes."""
