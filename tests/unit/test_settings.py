"""Settings are refused whole, with every problem named."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from mailcore.settings import ListenAddress, MailSettings, SettingsInvalid

KEY = base64.b64encode(bytes(32)).decode()
GOOD = {"MONGO_URI": "mongodb://127.0.0.1:27017/eider", "EIDER_SEALING_KEYS": f"1:{KEY},3:{KEY}"}


def test_everything_is_read_once() -> None:
    settings = MailSettings.from_environment(
        GOOD
        | {
            "EIDER_IMAP_LISTEN": "127.0.0.1:143,[::1]:143",
            "EIDER_IMAP_LOCAL": "1",
            "EIDER_LMTP_LISTEN": "0.0.0.0:24",
            "EIDER_HEALTH_LISTEN": "127.0.0.1:9000",
            "EIDER_PROXY_FROM": "10.0.0.1, 10.1.0.0/16",
            "EIDER_MESSAGE_BYTES": "1048576",
            "EIDER_SECRET_A": "password",
        }
    )
    assert settings.servers["imap"].listen == (ListenAddress("127.0.0.1", 143), ListenAddress("::1", 143))
    assert settings.servers["imap"].is_local
    assert not settings.servers["lmtp"].is_local
    assert "health" not in settings.servers
    assert settings.health_listen == ListenAddress("127.0.0.1", 9000)
    assert [str(network) for network in settings.proxy_from] == ["10.0.0.1/32", "10.1.0.0/16"]
    assert settings.limits.message_bytes == 1 << 20
    assert sorted(settings.sealing_keys) == [1, 3]
    assert settings.secrets["EIDER_SECRET_A"].reveal() == b"password"


BAD = [
    pytest.param({"MONGO_URI": ""}, "MONGO_URI is not set", id="no-directory"),
    pytest.param({"MONGO_URI": "mongodb://127.0.0.1"}, "database", id="no-database-name"),
    pytest.param({"EIDER_SEALING_KEYS": ""}, "EIDER_SEALING_KEYS", id="no-key"),
    pytest.param({"EIDER_SEALING_KEYS": "1:AAAA"}, "32 bytes", id="short-key"),
    pytest.param({"EIDER_SEALING_KEYS": f"1:{KEY},1:{KEY}"}, "twice", id="key-twice"),
    pytest.param({"EIDER_SEALING_KEYS": f"x:{KEY}"}, "NUMBER", id="key-without-number"),
    pytest.param({"EIDER_IMAP_LISTEN": "143"}, "HOST:PORT", id="no-host"),
    pytest.param({"EIDER_IMAP_LISTEN": "h:99999"}, "HOST:PORT", id="port-too-high"),
    pytest.param({"EIDER_IMAP_LISTEN": "h:1", "EIDER_IMAP_LOCAL": "yes"}, "0 or 1", id="not-a-flag"),
    pytest.param({"EIDER_PROXY_FROM": "everybody"}, "network", id="not-a-network"),
    pytest.param({"EIDER_MESSAGE_BYTES": "12"}, "EIDER_MESSAGE_BYTES", id="message-limit"),
    pytest.param({"REDIS_URL": "http://x"}, "REDIS_URL", id="redis-scheme"),
]


@pytest.mark.parametrize(("change", "said"), BAD)
def test_one_bad_value_refuses_all(change: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said):
        MailSettings.from_environment(GOOD | change)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsInvalid) as refusal:
        MailSettings.from_environment({"EIDER_IMAP_LISTEN": "x"})
    assert len(refusal.value.problems) == 3


def test_command_line_finds_the_stack_of_its_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="stack up"):
        MailSettings.for_command_line({}, tmp_path)
    stack = {"mongo": {"directory": GOOD["MONGO_URI"]}, "redis": "redis://x/0", "sealing_keys": f"1:{KEY}"}
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data/endpoints.json").write_text(json.dumps(stack))
    assert MailSettings.for_command_line({}, tmp_path).mongo_uri.reveal_text() == GOOD["MONGO_URI"]
    assert MailSettings.for_command_line(GOOD | {"MONGO_URI": "mongodb://x/y"}, tmp_path).redis_url is None


def test_settings_show_no_secret() -> None:
    settings = MailSettings.from_environment(
        GOOD | {"MONGO_URI": "mongodb://u:hunter2@h/d", "EIDER_SECRET_A": "hunter3"}
    )
    assert "hunter" not in repr(settings)
    assert KEY not in repr(settings)


def test_how_many_connections_may_be_open() -> None:
    found = MailSettings.from_environment(GOOD | {"EIDER_CONNECTIONS": "5000", "EIDER_CONNECTIONS_PER_ADDRESS": "200"})
    assert (found.connections, found.connections_per_address) == (5000, 200)
    with pytest.raises(SettingsInvalid, match="EIDER_CONNECTIONS is a number"):
        MailSettings.from_environment(GOOD | {"EIDER_CONNECTIONS": "0"})
