"""With what a user's mail is encrypted, as requests about users say it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mailcore.api.call import Call
from mailcore.api.steps import Change
from mailcore.api.user_fields import UserFields
from mailcore.model.encryption import Cipher, KeyTransport
from mailcore.model.ids import UserId
from mailcore.model.tenant import User
from mailcore.services.content.encryption import certificate_infos, key_info


def shown_encryption(user: User) -> dict[str, Any]:
    """Return with what a user's mail is encrypted, and whose keys they are."""
    choice = user.encryption
    key = key_info(choice)
    return {
        "encryptMessages": choice.of_stored,
        "encryptForwarded": choice.of_forwarded,
        "pubKey": choice.pgp_key,
        "keyInfo": asdict(key) if key is not None else False,
        "smimeCerts": list(choice.certificates),
        "smimeCipher": choice.cipher.value,
        "smimeKeyTransport": choice.key_transport.value,
        "smimeCertInfo": [asdict(one) for one in certificate_infos(choice)],
    }


def set_encryption(call: Call, change: Change, user_id: UserId, given: UserFields) -> None:
    """Set keys, and what they are for."""
    changes = encryption_changes(given)
    if changes:
        change(call.services.encryptions.set, call.actor, user_id, changes)


def encryption_changes(given: UserFields) -> dict[str, Any]:
    """Return what is given of a user's choice; a key of the one kind takes the place of those of the other."""
    wanted: dict[str, Any] = {
        "pgp_key": given.pub_key.strip() if given.pub_key is not None else None,
        "certificates": tuple(given.smime_certs) if given.smime_certs is not None else None,
        "cipher": Cipher(given.smime_cipher) if given.smime_cipher is not None else None,
        "key_transport": KeyTransport(given.smime_key_transport) if given.smime_key_transport is not None else None,
        "of_stored": given.encrypt_messages,
        "of_forwarded": given.encrypt_forwarded,
    }
    changes = {name: value for name, value in wanted.items() if value is not None}
    if changes.get("pgp_key") and "certificates" not in changes:
        changes["certificates"] = ()
    elif changes.get("certificates") and "pgp_key" not in changes:
        changes["pgp_key"] = ""
    return changes
