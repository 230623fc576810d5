"""Failed logins: counted by all processes together, each alone without Redis; the owner is never locked out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
import redis
from bson import ObjectId

from mailcore.errors import TooManyAttempts
from mailcore.model.access import CredentialKind, Protocol
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import LoginLimits, Penalty
from mailcore.model.secret import Secret
from mailcore.services.accounts import failed_logins
from mailcore.services.accounts.failed_logins import FailedLogins
from mailcore.services.accounts.login_guard import Attempt, Permit, Refusal
from mailcore.services.process.redis_link import RedisLink

LIMITS = LoginLimits(
    user=Penalty(free=10, first_wait_s=60, longest_wait_s=3600),
    user_from_range=Penalty(free=5, first_wait_s=30, longest_wait_s=100),
    address_range=Penalty(free=20, first_wait_s=60, longest_wait_s=600),
    tenant=Penalty(free=30, first_wait_s=2, longest_wait_s=60),
    lone_share=1,
)
HOME = "198.51.100.7"


@dataclass
class Gate:
    """Failed logins with a way to let time pass, and a user."""

    logins: FailedLogins
    wait: Callable[[], None]
    user: UserId
    tenant: TenantId

    def admit(self, address: str, user: UserId | None = None, login: str = "x@example.com") -> Permit:
        return self.logins.admit(login, user or self.user, self.tenant, address)

    def fails(self, address: str, user: UserId | None = None) -> int:
        """Fail once; return the seconds to wait if it was not let in."""
        try:
            self.admit(address, user)
        except TooManyAttempts as refused:
            return refused.wait_s
        return 0

    def succeeds(self, address: str, user: UserId | None = None) -> bool:
        try:
            self.logins.take_back(self.admit(address, user), is_good=True)
        except TooManyAttempts:
            return False
        return True

    def until_refused(self, addresses: Iterator[str]) -> int:
        """Return how many failures are let in before one is not."""
        return next(count for count, address in enumerate(addresses) if self.fails(address))


def _gate(redis_url: str) -> Gate:
    client = redis.Redis.from_url(redis_url)

    def wait() -> None:
        for key in client.scan_iter("eider:failed:*"):
            client.hdel(key, "until")

    return Gate(FailedLogins(RedisLink(Secret(redis_url)), LIMITS), wait, UserId(ObjectId()), TenantId(ObjectId()))


def _lone_gate() -> Gate:
    now = [1000.0]

    def wait() -> None:
        until = [one[1] for one in gate.logins._alone._counts.values()]
        now[0] = max(now[0], *until)

    gate = Gate(FailedLogins(RedisLink(None), LIMITS, lambda: now[0]), wait, UserId(ObjectId()), TenantId(ObjectId()))
    return gate


@pytest.fixture(params=["redis", "alone"])
def gate(request: pytest.FixtureRequest, redis_url: str) -> Gate:
    if request.param == "alone":
        return _lone_gate()
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter("eider:failed:*"):
            client.delete(key)
    return _gate(redis_url)


def many(pattern: str = "203.0.{}.1") -> Iterator[str]:
    return (pattern.format(number) for number in range(250))


def test_guesses_from_one_range_wait_longer_and_longer(gate: Gate) -> None:
    waits = []
    for number in range(5):
        assert gate.fails(f"192.0.2.{number}") == 0
    for number in range(4):
        waits.append(gate.fails(f"192.0.2.{100 + number}"))
        gate.wait()
        assert gate.fails("192.0.2.1") == 0
    assert [round(wait, -1) for wait in waits] == [30, 60, 100, 100]


def test_a_user_is_guarded_from_guesses_from_everywhere(gate: Gate) -> None:
    assert gate.until_refused(many()) == LIMITS.user.free


def test_the_owner_gets_in_from_a_known_range_whatever_strangers_do(gate: Gate) -> None:
    assert gate.succeeds(HOME)
    assert gate.until_refused(many()) == LIMITS.user.free
    assert not gate.succeeds("203.0.251.1"), "not known, so held up with the strangers"
    for _ in range(3):
        assert gate.succeeds("198.51.100.200"), "the same /24"


def test_where_known_ranges_count_like_all_the_owner_is_locked_out(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: success leaves no trace."""
    monkeypatch.setattr(FailedLogins, "take_back", lambda _self, _permit, *, is_good: None)
    assert gate.succeeds(HOME)
    gate.until_refused(many())
    assert not gate.succeeds(HOME)


def test_guesses_from_the_known_range_itself_are_limited(gate: Gate) -> None:
    assert gate.succeeds(HOME)
    assert gate.until_refused(HOME for _ in range(100)) == LIMITS.user_from_range.free


def test_one_range_that_tries_many_users_is_held_up(gate: Gate) -> None:
    others = iter([UserId(ObjectId()) for _ in range(100)])
    gate.tenant = TenantId(ObjectId())
    count = 0
    while not gate.fails("2001:db8:0:1::5", next(others)):
        count += 1
    assert count == LIMITS.address_range.free
    assert gate.fails("2001:db8:0:1:ffff::", next(others)), "the same /64"
    assert not gate.fails("2001:db8:0:2::5", next(others)), "another /64"


def test_a_tenant_sprayed_from_everywhere_is_held_up_but_not_where_users_are_known(gate: Gate) -> None:
    assert gate.succeeds(HOME)
    users = [UserId(ObjectId()) for _ in range(100)]
    admitted = next(count for count, user in enumerate(users) if gate.fails(f"203.0.{count}.1", user))
    assert admitted == LIMITS.tenant.free
    assert gate.succeeds(HOME)


def test_success_takes_back_only_its_own_attempt(gate: Gate) -> None:
    """A guesser with a password of its own does not clear the range by signing in."""
    own = UserId(ObjectId())
    users = [UserId(ObjectId()) for _ in range(100)]
    count = 0
    while not gate.fails(HOME, users[count]):
        count += 1
        gate.succeeds(HOME, own)
    assert count == LIMITS.address_range.free


def test_attempts_at_once_get_no_more_looks_than_in_a_row(gate: Gate) -> None:
    """All are admitted before any is known to be wrong."""
    permits = []
    with pytest.raises(TooManyAttempts):
        for _ in range(100):
            permits.append(gate.admit(HOME))
    assert len(permits) == LIMITS.user_from_range.free


def test_unknown_users_are_held_up_as_known_ones(gate: Gate) -> None:
    def refused_at(login: str, user: UserId | None, tenant: TenantId | None) -> int:
        for count in range(100):
            try:
                gate.logins.admit(login, user, tenant, f"203.0.{count}.1")
            except TooManyAttempts:
                return count
        raise AssertionError

    assert refused_at("nobody@example.com", None, None) == refused_at("x@other.example", gate.user, gate.tenant)
    assert refused_at("\udcff" * 5000, None, None)


def test_aliases_share_their_users_count(gate: Gate) -> None:
    for number in range(LIMITS.user.free):
        gate.admit(f"203.0.{number}.1", login=f"alias{number}@example.com")
    with pytest.raises(TooManyAttempts):
        gate.admit("203.0.99.1", login="another@example.com")


def test_operators_see_and_forgive(redis_url: str) -> None:
    gate = _gate(redis_url)
    assert gate.logins.failures(gate.user) == {}
    gate.until_refused(HOME for _ in range(100))
    counts = gate.logins.failures(gate.user)
    assert {place: count for place, (count, _) in counts.items()} == {"anywhere": 5, "198.51.100.0/24": 5}
    assert 15 <= counts["198.51.100.0/24"][1] <= 31
    gate.logins.forgive(gate.user)
    assert gate.logins.failures(gate.user) == {}
    assert gate.fails(HOME) == 0


def test_two_processes_share_the_count(redis_url: str) -> None:
    one, other = _gate(redis_url), _gate(redis_url)
    other.user, other.tenant = one.user, one.tenant
    admitted = next(count for count in range(100) if (one, other)[count % 2].fails(HOME))
    assert admitted == LIMITS.user_from_range.free


def is_known_after(seconds: float) -> bool:
    """Whether a process alone still takes a range for the user's so long after a login from there."""
    now = [1000.0]
    logins = FailedLogins(RedisLink(None), LIMITS, lambda: now[0])
    user, tenant = UserId(ObjectId()), TenantId(ObjectId())
    logins.take_back(logins.admit("x@example.com", user, tenant, HOME), is_good=True)
    now[0] += seconds
    return logins.admit("x@example.com", user, tenant, HOME).is_known


def test_alone_a_process_forgets_from_where_a_user_signed_in_as_redis_does() -> None:
    assert is_known_after(LIMITS.known_range_s - 1)
    assert not is_known_after(LIMITS.known_range_s + 1)


def test_alone_a_process_allows_its_share_and_knows_what_it_saw(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P16: Redis gone in the middle, guesses stay limited, by more; and it is taken up again by itself."""
    now = [1000.0]
    link = RedisLink(Secret(redis_url), lambda: now[0])
    logins = FailedLogins(link, replace(LIMITS, lone_share=5))
    user, tenant = UserId(ObjectId()), TenantId(ObjectId())
    logins.admit("", user, tenant, HOME)
    assert link.client is not None
    pool = link.client.connection_pool
    monkeypatch.setitem(pool.connection_kwargs, "port", 1)
    pool.reset()
    link._lines.close()
    with pytest.raises(TooManyAttempts):
        logins.admit("", user, tenant, HOME)
    logins.admit("", user, tenant, "203.0.113.1")
    with pytest.raises(TooManyAttempts):
        logins.admit("", user, tenant, "203.0.114.1")
    monkeypatch.undo()
    pool.reset()
    link._lines.close()
    with pytest.raises(TooManyAttempts):  # nobody asks so soon
        logins.admit("", user, tenant, "203.0.115.1")
    now[0] += 3
    logins.admit("", user, tenant, "203.0.115.1")
    assert link.losses == 1


def test_without_the_count_in_one_process_the_loss_of_redis_opens_the_door(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control for P16."""
    monkeypatch.setattr(failed_logins.LoneCounts, "admit", lambda _self, _keys: (False, 0))
    logins = FailedLogins(RedisLink(Secret("redis://127.0.0.1:1/0")), LIMITS)
    user, tenant = UserId(ObjectId()), TenantId(ObjectId())
    for _ in range(100):
        logins.admit("", user, tenant, HOME)


def test_the_right_password_where_it_is_not_enough_is_no_guess_and_makes_no_range_known(gate: Gate) -> None:
    """The master password of a user with second factors, tried on IMAP by who stole it."""
    attempt = Attempt("x@example.com", Protocol.IMAP, HOME, gate.user, gate.tenant)
    for _ in range(50):
        gate.logins.failed(gate.logins.before(attempt), Refusal.SECOND_FACTOR)
    gate.until_refused(many())
    assert not gate.succeeds(HOME)


def test_a_password_nobody_looked_at_is_no_failure(gate: Gate) -> None:
    attempt = Attempt("x@example.com", Protocol.IMAP, HOME, gate.user, gate.tenant)
    for _ in range(50):
        gate.logins.withdrawn(gate.logins.before(attempt))
    assert gate.succeeds(HOME)


def test_an_app_password_makes_its_range_known(gate: Gate) -> None:
    gate.logins.succeeded(Attempt("x", Protocol.IMAP, HOME, gate.user, gate.tenant, CredentialKind.APP_PASSWORD))
    gate.until_refused(many())
    assert gate.succeeds(HOME)
