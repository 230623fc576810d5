"""Promise P1: no process starts with settings under which an acknowledged write can vanish."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from mailcore.model.secret import Secret
from mailcore.services.wiring import connect
from mailcore.store.client import Clients, UriInvalid, WeakSettings, assert_strong, open_client, split_database
from tests.builders import make_settings

URI = "mongodb://127.0.0.1:1/"

WEAK = [
    pytest.param("w=1", "w must be majority", id="w1"),
    pytest.param("w=majority&journal=false&wtimeoutms=5000", "journal", id="no-journal"),
    pytest.param("wtimeoutms=0", "wTimeoutMS", id="no-write-timeout"),
    pytest.param("readConcernLevel=local", "readConcernLevel", id="local-reads"),
    pytest.param("readPreference=secondaryPreferred", "readPreference", id="secondaries"),
    pytest.param("retryWrites=false", "retryWrites", id="no-retry"),
    pytest.param("socketTimeoutMS=0", "socketTimeoutMS", id="no-socket-timeout"),
    pytest.param("socketTimeoutMS=60000", "socketTimeoutMS", id="long-socket-timeout"),
    pytest.param("serverSelectionTimeoutMS=60000", "serverSelectionTimeoutMS", id="long-selection"),
]


@pytest.mark.parametrize(("options", "said"), WEAK)
def test_weaker_settings_in_a_uri_refuse_to_start(options: str, said: str) -> None:
    with pytest.raises(WeakSettings, match=said):
        connect(make_settings(f"{URI}eider?{options}"))


def test_the_driver_alone_would_be_too_weak() -> None:
    """What pymongo gives without our options is refused: the check is not satisfied by defaults."""
    with MongoClient[dict[str, Any]](URI, connect=False) as client, pytest.raises(WeakSettings) as refusal:
        assert_strong(client)
    for fault in ("w must", "journal", "wTimeoutMS", "readConcernLevel", "socketTimeoutMS", "serverSelectionTimeoutMS"):
        assert fault in str(refusal.value)


def test_our_own_settings_pass_and_cannot_be_weakened_unseen() -> None:
    client = open_client(URI)
    collection = client["eider"]["mailboxes"]
    assert_strong(client)
    assert_strong(collection)
    for weaker in (
        collection.with_options(write_concern=WriteConcern(w=1)),
        collection.with_options(read_concern=ReadConcern("local")),
        collection.with_options(read_preference=ReadPreference.NEAREST),
    ):
        with pytest.raises(WeakSettings):
            assert_strong(weaker)
    client.close()


def test_databases_of_one_set_share_a_client() -> None:
    clients = Clients({})
    one, other = clients.database(f"{URI}one"), clients.database(f"{URI}other")
    assert (one.name, other.name) == ("one", "other")
    assert one.client is other.client
    clients.close()


def test_passwords_of_shards_come_from_the_environment() -> None:
    uri = "mongodb://eider:${EIDER_SECRET_A}@127.0.0.1:1/mail"
    with pytest.raises(UriInvalid, match="EIDER_SECRET_A"):
        Clients({}).database(uri)
    clients = Clients({"EIDER_SECRET_A": Secret("hunter2")})
    assert clients.database(uri).name == "mail"
    clients.close()


@pytest.mark.parametrize("uri", ["", "http://x/y", "mongodb://x", "mongodb://x/", "mongodb://x/?w=1", "mongodb:///x"])
def test_a_uri_without_database_is_refused(uri: str) -> None:
    with pytest.raises(UriInvalid):
        split_database(uri)
