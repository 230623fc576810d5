"""`users.second_factors`: sealed TOTP seed, passkeys and hashed recovery codes, within the user's own document.

So a factor and the field that tells of it (`enabled_2fa`) change in one atomic update.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from mailcore.model.factors import Factor, Passkey
from mailcore.model.ids import UserId
from mailcore.model.tenant import User
from mailcore.store.client import Document
from mailcore.store.directory.users import read_user
from mailcore.store.guard import deadline
from mailcore.store.owned import OwnedCollection

_ROOT = "second_factors"
_Stages = list[dict[str, Any]]
_PROJECTION = {_ROOT: 1, "enabled_2fa": 1, "password": 1}


@dataclass(frozen=True, slots=True)
class StoredFactors:
    """What is stored of a user's second factors."""

    enabled: tuple[Factor, ...]
    password_hash: str | None
    totp_seed: bytes | None
    """Sealed."""
    passkeys: tuple[Passkey, ...]
    recovery_codes_left: int


class SecondFactors:
    """The part of `users` that concerns second factors."""

    def __init__(self, directory: Database[Document]) -> None:
        self._collection = OwnedCollection(directory["users"], "_id", ObjectId)

    def find(self, user_id: UserId) -> StoredFactors | None:
        """Return what is stored, None if there is no such user; one round trip."""
        with deadline():
            return _read(self._collection.find_one({"_id": user_id}, _PROJECTION))

    def enable(self, user_id: UserId, factor: Factor) -> User | None:
        """Turn a factor on that stores nothing; None if it is on."""
        return self._change({"_id": user_id, "enabled_2fa": {"$ne": factor.value}}, _enabling(factor))

    def disable(self, user_id: UserId, factor: Factor) -> User | None:
        """Turn a factor off and forget what belongs to it; None if it is not on."""
        return self._change({"_id": user_id, "enabled_2fa": factor.value}, _disabling(factor))

    def disable_all(self, user_id: UserId) -> User | None:
        """Forget every factor; None if there is no such user."""
        cleared = [{"$unset": [_ROOT, "enabled_2fa"]}]
        return self._change({"_id": user_id}, cleared)

    # -- tries ----------------------------------------------------------------------------------

    def reserve_try(self, user_id: UserId, tries: int, window_s: int) -> StoredFactors | None:
        """Count a look at a code, then return what to compare it with; None if `tries` are used up in this window.

        Counted before it is looked at: a hundred at once get no more looks than a hundred in a row.
        """
        begun, made = f"${_ROOT}.tries.begun_at", f"${_ROOT}.tries.made"
        is_open = {"$gt": [begun, {"$subtract": ["$$NOW", window_s * 1000]}]}
        count = {
            "begun_at": {"$cond": [is_open, begun, "$$NOW"]},
            "made": {"$cond": [is_open, {"$min": [{"$add": [made, 1]}, tries + 1]}, 1]},
        }
        with deadline():
            document = self._collection.find_one_and_update(
                {"_id": user_id},
                [{"$set": {f"{_ROOT}.tries": count}}],
                projection=_PROJECTION,
                return_document=ReturnDocument.AFTER,
            )
        if document is None or document[_ROOT]["tries"]["made"] > tries:
            return None
        return _read(document)

    # -- TOTP -----------------------------------------------------------------------------------

    def set_pending_totp(self, user_id: UserId, sealed_seed: bytes, seconds: int) -> bool:
        """Keep a seed until its first code proves that the user has it; False if TOTP is on or there is no user."""
        pending = {"seed": sealed_seed, "expires_at": {"$add": ["$$NOW", seconds * 1000]}}
        with deadline():
            result = self._collection.update_one(
                {"_id": user_id, "enabled_2fa": {"$ne": Factor.TOTP.value}},
                [{"$set": {f"{_ROOT}.pending_totp": pending}}],
            )
        return result.matched_count == 1

    def find_pending_totp(self, user_id: UserId) -> bytes | None:
        """Return the sealed seed that waits, None if there is none or it waited too long."""
        field = f"{_ROOT}.pending_totp"
        stages: _Stages = [
            {"$match": {"_id": user_id}},
            {"$match": {"$expr": {"$gt": [f"${field}.expires_at", "$$NOW"]}}},
            {"$project": {field: 1}},
        ]
        with deadline():
            found = next(iter(self._collection.aggregate(stages)), None)
        return None if found is None else bytes(found[_ROOT]["pending_totp"]["seed"])

    def enable_totp(self, user_id: UserId, sealed_seed: bytes, step: int) -> User | None:
        """Turn TOTP on with the seed that waits, its code of `step` used; None if that seed waits no more."""
        query = {"_id": user_id, "enabled_2fa": {"$ne": Factor.TOTP.value}, f"{_ROOT}.pending_totp.seed": sealed_seed}
        stored = {"seed": sealed_seed, "last_step": step}
        gone = (f"{_ROOT}.pending_totp", f"{_ROOT}.tries")
        return self._change(query, _enabling(Factor.TOTP, {f"{_ROOT}.totp": stored}, gone))

    def use_totp_step(self, user_id: UserId, sealed_seed: bytes, step: int) -> bool:
        """Use up the codes up to `step`, and forget the tries; False if that one was used, on whatever node."""
        query = {"_id": user_id, f"{_ROOT}.totp.seed": sealed_seed, f"{_ROOT}.totp.last_step": {"$lt": step}}
        update = {"$set": {f"{_ROOT}.totp.last_step": step}, "$unset": {f"{_ROOT}.tries": ""}}
        with deadline():
            return self._collection.update_one(query, update).modified_count == 1

    # -- passkeys -------------------------------------------------------------------------------

    def add_passkey(self, user_id: UserId, passkey: Passkey, most: int) -> User | None:
        """Add a passkey; None if the user has `most`, or if anybody has this one."""
        # the unique index sees to other users' passkeys, but not to those within one document
        query = {
            "_id": user_id,
            f"{_ROOT}.passkeys.{most - 1}": {"$exists": False},
            f"{_ROOT}.passkeys.id": {"$ne": passkey.id},
        }
        document = {
            "id": passkey.id,
            "public_key": passkey.public_key,
            "sign_count": passkey.sign_count,
            "name": passkey.name,
            "rp_id": passkey.rp_id,
            "attachment": passkey.attachment,
            "is_backed_up": passkey.is_backed_up,
            "created_at": passkey.created_at,
            "last_used_at": passkey.last_used_at,
        }
        grown = {"$concatArrays": [{"$ifNull": [f"${_ROOT}.passkeys", []]}, [{"$literal": document}]]}
        try:
            return self._change(query, _enabling(Factor.WEBAUTHN, {f"{_ROOT}.passkeys": grown}))
        except DuplicateKeyError:
            return None

    def use_passkey(self, user_id: UserId, passkey: Passkey, sign_count: int, now: datetime) -> bool:
        """Note a use and the new counter, and forget the tries; False if it was used or removed meanwhile."""
        query = {
            "_id": user_id,
            f"{_ROOT}.passkeys": {"$elemMatch": {"id": passkey.id, "sign_count": passkey.sign_count}},
        }
        changes = {
            f"{_ROOT}.passkeys.$.sign_count": sign_count,
            f"{_ROOT}.passkeys.$.last_used_at": now,
        }
        with deadline():
            return (
                self._collection.update_one(query, {"$set": changes, "$unset": {f"{_ROOT}.tries": ""}}).matched_count
                == 1
            )

    def remove_passkey(self, user_id: UserId, passkey_id: bytes) -> User | None:
        """Remove a passkey, and with the last one the factor; None if there is no such passkey."""
        kept = {"$filter": {"input": f"${_ROOT}.passkeys", "cond": {"$ne": ["$$this.id", {"$literal": passkey_id}]}}}
        is_last = {"$eq": [f"${_ROOT}.passkeys", []]}
        others = {"$setDifference": ["$enabled_2fa", [Factor.WEBAUTHN.value]]}
        stages: _Stages = [
            {"$set": {f"{_ROOT}.passkeys": kept}},
            {"$set": {"enabled_2fa": {"$cond": [is_last, others, "$enabled_2fa"]}}},
            *_FORGET_CODES_WITHOUT_FACTORS,
        ]
        return self._change({"_id": user_id, f"{_ROOT}.passkeys.id": passkey_id}, stages)

    # -- recovery codes -------------------------------------------------------------------------

    def replace_recovery_codes(self, user_id: UserId, hashes: list[bytes]) -> bool:
        """Store new recovery codes; False if the user has no factor that they would stand in for."""
        with deadline():
            result = self._collection.update_one(
                {"_id": user_id, "enabled_2fa.0": {"$exists": True}}, {"$set": {f"{_ROOT}.recovery_codes": hashes}}
            )
        return result.matched_count == 1

    def use_recovery_code(self, user_id: UserId, hashed: bytes) -> bool:
        """Use a code up, and forget the tries; False if there is none like it, or not any more."""
        field = f"{_ROOT}.recovery_codes"
        with deadline():
            result = self._collection.update_one(
                {"_id": user_id, field: hashed}, {"$pull": {field: hashed}, "$unset": {f"{_ROOT}.tries": ""}}
            )
        return result.modified_count == 1

    def _change(self, query: dict[str, Any], stages: _Stages) -> User | None:
        """Apply a pipeline; a user who gains the first factor or loses the last one has all sessions ended."""
        before = {"had_2fa": {"$gt": [{"$size": _ENABLED}, 0]}}
        with deadline():
            document = self._collection.find_one_and_update(
                query,
                [{"$set": before}, *stages, *_BUMP_WITH_FIRST, {"$unset": "had_2fa"}],
                projection={_ROOT: 0, "password": 0},
                return_document=ReturnDocument.AFTER,
            )
        return None if document is None else read_user(document)


_ENABLED = {"$ifNull": ["$enabled_2fa", []]}
_BUMP_WITH_FIRST = [
    {
        "$set": {
            "auth_version": {
                "$cond": [
                    {"$and": [{"$not": ["$had_2fa"]}, {"$gt": [{"$size": _ENABLED}, 0]}]},
                    {"$add": ["$auth_version", 1]},
                    "$auth_version",
                ]
            }
        }
    }
]
"""The first factor ends every session that the master password alone had opened."""
_FORGET_CODES_WITHOUT_FACTORS = [
    {
        "$set": {
            f"{_ROOT}.recovery_codes": {
                "$cond": [{"$eq": [_ENABLED, []]}, "$$REMOVE", f"${_ROOT}.recovery_codes"],
            }
        }
    }
]


def _enabling(
    factor: Factor, fields: Mapping[str, Any] | None = None, gone: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    enabled = {"$setUnion": [_ENABLED, [factor.value]]}
    return [{"$set": {**(fields or {}), "enabled_2fa": enabled}}, *({"$unset": name} for name in gone)]


def _disabling(factor: Factor) -> _Stages:
    fields = {Factor.TOTP: [f"{_ROOT}.totp"], Factor.WEBAUTHN: [f"{_ROOT}.passkeys"], Factor.CUSTOM: []}[factor]
    removed = {"$setDifference": [_ENABLED, [factor.value]]}
    return [
        {"$set": {"enabled_2fa": removed}},
        *({"$unset": name} for name in fields),
        *_FORGET_CODES_WITHOUT_FACTORS,
    ]


def _read(document: Document | None) -> StoredFactors | None:
    if document is None:
        return None
    stored = document.get(_ROOT, {})
    totp = stored.get("totp", {})
    return StoredFactors(
        enabled=tuple(Factor(name) for name in document.get("enabled_2fa", ())),
        password_hash=document["password"],
        totp_seed=totp.get("seed"),
        passkeys=tuple(_passkey(found) for found in stored.get("passkeys", ())),
        recovery_codes_left=len(stored.get("recovery_codes", ())),
    )


def _passkey(document: Document) -> Passkey:
    return Passkey(
        id=bytes(document["id"]),
        public_key=bytes(document["public_key"]),
        sign_count=document["sign_count"],
        name=document["name"],
        rp_id=document["rp_id"],
        attachment=document["attachment"],
        is_backed_up=document["is_backed_up"],
        created_at=document["created_at"],
        last_used_at=document["last_used_at"],
    )
