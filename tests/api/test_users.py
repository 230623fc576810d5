"""Users by the API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pysequoia
import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from infra.devstack.endpoints import ShardUris
from mailcore.api.application import Application
from mailcore.errors import AuthenticationFailed, RateExceeded, ScopeInsufficient, UserDisabled
from mailcore.model.access import Protocol
from mailcore.model.outbound import EntryState
from mailcore.model.roles import Role
from mailcore.model.secret import Secret
from mailcore.pop3.maildrop import Maildrop
from mailcore.services import MailServices
from mailcore.services.accounts.tokens import owner_of_tenant
from mailcore.store.mailbox.packed import uid_set_of
from tests.api.conftest import Api, token
from tests.builders import OPERATOR, MadeUser, make_services, make_user
from tests.services.test_encryption import certificate
from tests.store.test_delivery import deliver


@pytest.fixture
def domain(user: MadeUser) -> str:
    return user.address.partition("@")[2]


def sign_in(services: MailServices, address: str, password: str) -> object:
    return services.authentication.login(address, Secret(password.encode()), Protocol.IMAP, "192.0.2.1").user_id


def test_a_user_is_made_shown_and_found(tenant: Api, domain: str, services: MailServices) -> None:
    made = tenant.post(
        "/users",
        {
            "username": f"zoë@{domain}", "password": "long enough words", "name": "Zoë", "tags": ["staff", "Staff"],
            "quota": 10_000_000, "recipients": 7, "metaData": '{"a":1}', "internalData": {"b": 2}, "spamLevel": 20,
            "disabledScopes": ["pop3"], "targets": ["x@example.org"], "sess": "s", "ip": "192.0.2.1",
        },
    )  # fmt: skip
    assert made.status == 200
    found = tenant.get(f"/users/{made.body['id']}").body
    assert (found["name"], found["tags"], found["targets"]) == ("Zoë", ["staff"], ["x@example.org"])
    assert (found["metaData"], found["internalData"], found["spamLevel"]) == ({"a": 1}, {"b": 2}, 20)
    assert (found["limits"]["quota"]["allowed"], found["limits"]["recipients"]["allowed"]) == (10_000_000, 7)
    assert (found["disabledScopes"], found["hasPasswordSet"], found["activated"]) == (["pop3"], True, True)
    assert tenant.get(f"/users/resolve/{quote('ZOË+x@' + domain)}").body["id"] == made.body["id"]
    assert str(sign_in(services, f"zoë@{domain}", "long enough words")) == made.body["id"]


def test_lists_by_address_and_tags_in_pages(tenant: Api, domain: str) -> None:
    for number in range(5):
        body = {
            "username": f"list{number}@{domain}",
            "password": False,
            "tags": ["even" if number % 2 == 0 else "odd", "all"],
        }
        assert tenant.post("/users", body).status == 200
    first = tenant.get("/users?query=LIST&limit=3&tags=").body
    assert (first["total"], len(first["results"]), first["previousCursor"]) == (5, 3, False)
    second = tenant.get(f"/users?query=LIST&limit=3&next={first['nextCursor']}").body
    assert [one["address"][:5] for one in second["results"]] == ["list3", "list4"]
    back = tenant.get(f"/users?query=LIST&limit=3&previous={second['previousCursor']}").body
    assert [one["id"] for one in back["results"]] == [one["id"] for one in first["results"]]
    assert tenant.get("/users?tags=odd,nothing").body["total"] == 2
    assert tenant.get("/users?requiredTags=EVEN,all").body["total"] == 3
    assert tenant.get("/users?query=.*").body["total"] == 0
    assert first["results"][0]["hasPasswordSet"] is False


def test_a_tenants_token_lists_its_own(tenant: Api, platform: Api, services: MailServices) -> None:
    stranger = make_user(services)
    assert str(stranger.user_id) not in [one["id"] for one in tenant.get("/users?limit=250").body["results"]]
    assert platform.get(f"/users?query={stranger.address}").body["total"] == 1
    assert tenant.get(f"/users/resolve/{stranger.address}").body["code"] == "UserNotFound"


def test_what_a_user_sends_may_be_taken_back_for_a_while(own: Api, services: MailServices, user: MadeUser) -> None:
    assert own.put("/users/me", {"undoSend": 31}).status == 400
    assert own.put("/users/me", {"undoSend": 25}).status == 200
    assert own.get("/users/me").body["undoSend"] == 25
    said = {"to": [{"address": "bob@else.test"}], "subject": "Hello", "text": "Hello"}
    queue_id = own.post("/users/me/submit", said).body["message"]["queueId"]
    entry = services.outbound.get(user.user_id, queue_id)
    assert entry.next_at is not None
    assert (entry.next_at - entry.created_at).total_seconds() == 25
    assert own.delete(f"/users/me/outbound/{queue_id}").status == 200
    assert services.outbound.get(user.user_id, queue_id).state is EntryState.CANCELLED


def test_what_is_left_out_stays(tenant: Api, user: MadeUser) -> None:
    path = f"/users/{user.user_id}"
    tenant.put(path, {"uploadSentMessages": True, "spamLevel": 10, "tags": ["a"], "name": "One"})
    tenant.put(path, {"name": "Two"})
    found = tenant.get(path).body
    assert (found["uploadSentMessages"], found["spamLevel"], found["tags"], found["name"]) == (True, 10, ["a"], "Two")


def test_a_state_ends_sign_in(tenant: Api, services: MailServices, user: MadeUser) -> None:
    assert tenant.put(f"/users/{user.user_id}", {"suspended": True}).status == 200
    assert tenant.get(f"/users/{user.user_id}").body["suspended"] is True
    with pytest.raises(UserDisabled):
        sign_in(services, user.address, user.password)
    tenant.put(f"/users/{user.user_id}", {"suspended": False})
    assert sign_in(services, user.address, user.password) == user.user_id


def test_passwords_change_and_are_reset(tenant: Api, own: Api, services: MailServices, user: MadeUser) -> None:
    assert own.put("/users/me", {"password": "another long one"}).body["code"] == "InputValidationError"
    wrong = own.put("/users/me", {"existingPassword": "wrong", "password": "another long one"})
    assert (wrong.status, wrong.body["code"]) == (403, "AuthFailed")
    assert own.put("/users/me", {"existingPassword": user.password, "password": "another long one"}).status == 200
    with pytest.raises(AuthenticationFailed):
        sign_in(services, user.address, user.password)
    made = tenant.post(f"/users/{user.user_id}/password/reset", {}).body["password"]
    with pytest.raises(ScopeInsufficient):
        sign_in(services, user.address, made)
    assert tenant.post("/users/x/password/reset", {}).status == 404


def test_a_users_token_changes_only_what_it_may(own: Api, services: MailServices, user: MadeUser) -> None:
    for field, value in (("quota", 1), ("tags", ["a"]), ("internalData", {}), ("disabled", False), ("recipients", 0)):
        answer = own.put("/users/me", {field: value})
        assert (answer.status, answer.body["code"]) == (403, "MissingPrivileges"), field
    assert own.put("/users/me", {"name": "Me", "spamLevel": 5}).status == 200
    found = own.get("/users/me").body
    assert (found["name"], "internalData" in found, "tags" in found) == ("Me", False, False)
    assert own.get("/users").body["code"] == "MissingPrivileges"


@pytest.mark.parametrize(
    "field",
    ["tenant_id", "role", "hidden", "internal", "auth_version", "shard", "placement_epoch", "settings", "limits", "_id",
     "password_change_needed", "enabled_2fa", "state", "autoreply_version", "$set", "settings.tags", "__proto__"],
)  # fmt: skip
def test_fields_of_the_database_are_refused(tenant: Api, services: MailServices, user: MadeUser, field: str) -> None:
    """Attack W3: no field gets in by its name in the database."""
    before = services.placement.directory.database["users"].find_one({"_id": user.user_id})
    for method, path in (("PUT", f"/users/{user.user_id}"), ("POST", "/users")):
        answer = tenant.ask(method, path, {field: "x"})
        assert (answer.status, answer.body["code"]) == (400, "InputValidationError")
    assert services.placement.directory.database["users"].find_one({"_id": user.user_id}) == before


def test_making_one_is_planned(tenant: Api, domain: str) -> None:
    body = {"username": f"plan@{domain}", "password": "long enough words"}
    answer = tenant.post("/users?dry_run=1", body).body
    assert [step["change"] for step in answer["plan"]] == ["user.created"]
    assert "long enough" not in str(answer)
    assert tenant.get(f"/users/resolve/plan@{domain}").status == 404
    changed = tenant.put(
        "/users/{}?dry_run=1".format(tenant.get("/users").body["results"][0]["id"]), {"name": "X", "quota": 5}
    )
    assert [step["change"] for step in changed.body["plan"]] == ["user.name", "user.quota"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"username": "nobody", "password": "long enough words"}, "InputValidationError"),
        ({"username": "a@elsewhere.test", "password": "long enough words"}, "DomainNotFound"),
        ({"username": "a@b@c", "password": "long enough words"}, "InputValidationError"),
        ({"username": "x", "password": "s", "spamLevel": 101, "quota": -1}, "InputValidationError"),
        ({"username": "x", "password": {"$gt": ""}}, "InputValidationError"),
    ],
)
def test_what_is_no_user_is_refused(tenant: Api, body: dict[str, object], code: str) -> None:
    assert tenant.post("/users", body).body["code"] == code


def test_no_two_have_one_address(tenant: Api, user: MadeUser) -> None:
    local, domain = user.address.split("@")
    answer = tenant.post("/users", {"username": f"{local[:1]}.{local[1:]}@{domain}", "password": "long enough words"})
    assert answer.body["code"] == "AddressExistsError"


def test_a_managers_token_reads_no_mail(app: Application, services: MailServices, user: MadeUser) -> None:
    manager = Api(app, token(services, owner_of_tenant(user.tenant_id), Role.MANAGER))
    assert manager.get(f"/users/{user.user_id}").status == 200
    assert manager.get(f"/users/{user.user_id}/mailboxes").body["code"] == "MissingPrivileges"


def test_keys_are_set_shown_and_taken_away(tenant: Api, own: Api, user: MadeUser) -> None:
    path = f"/users/{user.user_id}"
    key = str(pysequoia.Tsk.generate("Ada <ada@example.org>").extract_certificate())
    assert own.put("/users/me", {"encryptMessages": True}).body["code"] == "InputValidationError", "without a key"
    assert own.put("/users/me", {"pubKey": key, "encryptMessages": "on", "encryptForwarded": "1"}).status == 200
    found = tenant.get(path).body
    assert (found["encryptMessages"], found["encryptForwarded"], found["pubKey"]) == (True, True, key.strip())
    assert (found["keyInfo"]["name"], found["keyInfo"]["address"]) == ("Ada", "ada@example.org")
    (listed,) = tenant.get(f"/users?query={user.address}").body["results"]
    assert (listed["encryptMessages"], listed["encryptForwarded"]) == (True, True)
    pem, _ = certificate()
    assert own.put("/users/me", {"smimeCerts": [pem], "smimeCipher": "AES-CBC"}).status == 200
    found = own.get("/users/me").body
    assert (found["pubKey"], found["keyInfo"], found["smimeCerts"]) == ("", False, [pem])
    assert (found["smimeCertInfo"][0]["subject"], found["smimeCipher"]) == ("CN=zoe@example.org", "AES-CBC")
    assert own.put("/users/me", {"smimeCipher": "AES-GCM", "smimeKeyTransport": "OAEP"}).status == 200
    assert own.get("/users/me").body["smimeCipher"] == "AES-GCM"
    assert own.put("/users/me", {"smimeCipher": "ROT13"}).body["code"] == "InputValidationError"
    assert own.put("/users/me", {"smimeCerts": [], "pubKey": ""}).body["code"] == "InputValidationError", "still wanted"
    off = {"smimeCerts": [], "pubKey": "", "encryptMessages": False, "encryptForwarded": False}
    assert own.put("/users/me", off).status == 200
    assert own.get("/users/me").body["encryptMessages"] is False


def test_a_user_is_made_with_all_that_can_be_said(tenant: Api, domain: str, services: MailServices) -> None:
    body = {
        "username": f"all@{domain}", "password": "long enough words", "retention": 86_400_000, "filters": 3,
        "pop3MaxMessages": 2, "receivedMax": 5, "require2faEnabled": True, "tags": ["a"], "addTagsToAddress": True,
        "mailboxes": {"sent": "Gesendet", "trash": "", "junk": "Spam/Junk"}, "featureFlags": {"indexing": True},
        "emptyAddress": "", "language": "de", "uploadSentMessages": False,
    }  # fmt: skip
    made = tenant.post("/users", body).body["id"]
    found = tenant.get(f"/users/{made}").body
    assert (found["retention"], found["require2faEnabled"], found["passwordPwned"]) == (86_400_000, True, False)
    limits = found["limits"]
    assert (limits["filters"], limits["pop3MaxMessages"]) == ({"allowed": 3, "used": 0}, {"allowed": 2})
    assert limits["received"] == {"allowed": 5, "used": 0, "ttl": False}
    names = {one["path"]: one["specialUse"] for one in tenant.get(f"/users/{made}/mailboxes").body["results"]}
    assert (names["Gesendet"], names["Spam/Junk"], "Trash" in names) == (r"\Sent", r"\Junk", True)
    (address,) = tenant.get(f"/users/{made}/addresses").body["results"]
    assert address["tags"] == ["a"]
    assert tenant.post("/users", {**body, "emptyAddress": True}).body["code"] == "InputValidationError"


def test_what_comes_in_is_limited(tenant: Api, services: MailServices, user: MadeUser) -> None:
    tenant.put(f"/users/{user.user_id}", {"receivedMax": 2})
    for _ in range(2):
        services.delivery.resolve(user.address, only_asks=True)
        services.delivery.resolve(user.address)
    for only_asks in (True, False):
        with pytest.raises(RateExceeded):
            services.delivery.resolve(user.address, only_asks=only_asks)
    assert tenant.get(f"/users/{user.user_id}").body["limits"]["received"]["used"] == 2


def test_pop3_shows_the_newest(tenant: Api, services: MailServices, user: MadeUser) -> None:
    for number in range(3):
        deliver(services, b"Subject: %d\r\n\r\nx\r\n" % number, user)
    tenant.put(f"/users/{user.user_id}", {"pop3MaxMessages": 2})
    drop = Maildrop.open(services, user.user_id)
    assert (drop.count, next(iter(drop.sizes())).splitlines()[0][:2]) == (2, b"1 ")
    subjects = [b"".join(drop.open_message(number, whole=True).read()) for number in (1, 2)]
    assert [b"Subject: 1" in subjects[0], b"Subject: 2" in subjects[1]] == [True, True]
    assert drop.size_bytes == drop.size_of(1) + drop.size_of(2)
    drop.mark(1)
    assert (drop.count, next(iter(drop.sizes()))[:2]) == (1, b"2 ")
    drop.expunge_marked(OPERATOR)
    assert services.mailboxes.open(user.user_id, "INBOX").exists == 2


def test_the_bytes_of_a_user_are_of_now(
    own: Api, services: MailServices, user: MadeUser, directory_uri: str, shard_uris: dict[str, ShardUris]
) -> None:
    """Whoever empties the trash sees the room at once, whichever process did it and which is asked."""
    deliver(services, b"Subject: x\r\n\r\n" + b"x" * 5000, user)

    def shown() -> int:
        return int(own.get("/users/me").body["limits"]["quota"]["used"])

    assert shown() > 5000
    elsewhere = make_services(directory_uri, shard_uris)
    inbox = elsewhere.mailboxes.open(user.user_id, "INBOX")
    elsewhere.messages.expunge(user.user_id, OPERATOR, inbox.mailbox_id, uid_set_of(inbox.uids), only_deleted=False)
    elsewhere.close()
    assert services.quotas.use(user.user_id) > 5000, "what is remembered is old"
    assert shown() == 0


def test_everybodys_bytes_are_counted_anew_by_a_job(tenant: Api, own: Api, redis_url: str) -> None:
    task = tenant.post("/quota/reset", {"sess": ""}).body["task"]
    with Redis.from_url(redis_url) as redis:
        job = Job.fetch(task, connection=redis, serializer=JSONSerializer)
        assert job.func_name == "workers.jobs.pools.sum_up"
        job.delete()
    assert tenant.post("/quota/reset?dry_run=1", {}).body["plan"] == []
    assert own.post("/quota/reset", {}).body["code"] == "MissingPrivileges"


UNFIT: list[dict[str, Any]] = [
    {"pubKey": "garbage"},
    {"smimeCerts": ["garbage"]},
    {"encryptMessages": True},
    {"targets": ["nobody"]},
    {"fromWhitelist": ["***"]},
    {"mtaRelay": "ftp://x"},
    {"retention": (1 << 53) - 1},
    {"hashedPassword": True},
    {"mailboxes": {"sent": "a//b"}},
    {"mailboxes": {"sent": "Drafts"}},
    {"mailboxes": {"sent": "INBOX"}},
    {"mailboxes": {"sent": "One", "trash": "One"}},
    {"mailboxes": {"sent": "Sent Mail/below"}},
]


@pytest.mark.parametrize("unfit", UNFIT, ids=lambda unfit: next(iter(unfit)))
def test_who_is_refused_is_not_half_made(tenant: Api, user: MadeUser, unfit: dict[str, Any]) -> None:
    username = f"new@{user.address.partition('@')[2]}"
    wanted = {"username": username, "password": "long enough words"}
    assert tenant.post("/users", {**wanted, **unfit}).status == 400
    assert tenant.get(f"/users/resolve/{username}").status == 404
    assert tenant.post("/users", wanted).status == 200, "the address is still free"


def test_what_a_mailbox_of_a_new_user_gives_up_another_may_have(tenant: Api, user: MadeUser) -> None:
    username = f"new@{user.address.partition('@')[2]}"
    names = {"sent": "Gone", "trash": "Sent Mail", "junk": "Junk"}
    made = tenant.post("/users", {"username": username, "password": "long enough words", "mailboxes": names}).body["id"]
    found = {one["path"]: one["specialUse"] for one in tenant.get(f"/users/{made}/mailboxes").body["results"]}
    assert (found["Gone"], found["Sent Mail"], found["Junk"]) == ("\\Sent", "\\Trash", "\\Junk")


def test_of_a_refused_change_nothing_is_done(own: Api) -> None:
    assert own.put("/users/me", {"name": "Changed", "targets": ["nobody"]}).status == 400
    assert own.get("/users/me").body["name"] == ""


def test_a_separator_at_the_end_of_a_new_mailbox_is_none(own: Api) -> None:
    made = own.post("/users/me/mailboxes", {"path": "Tail/", "retention": 1000}).body["id"]
    found = own.get(f"/users/me/mailboxes/{made}").body
    assert (found["path"], found["retention"]) == ("Tail", 1000)
