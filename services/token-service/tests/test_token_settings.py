"""The service starts only with settings that make sense together."""

import base64

import pytest
from platform_testing.callers import ServiceKeys
from shared.settings import WrongSettings, read_settings
from token_service.settings import Settings

KEYS = ServiceKeys()
GOOD = {
    "DATABASE_URL": "postgresql://a:b@localhost/c",
    "PUBLIC_URL": "https://points.example",
    "SERVICE_KEY": KEYS.private("token-service"),
    "SERVICE_PEERS": KEYS.peers,
    "ONBOARDING_URL": "http://onboarding:8003/",
    "ISSUER_URL": "http://issuer:8002",
    "KEY_ENCRYPTION_KEYS": f"1:{base64.b64encode(bytes(32)).decode()}",
}


def read(monkeypatch: pytest.MonkeyPatch, **changes: str) -> Settings:
    for name, value in {**GOOD, **changes}.items():
        monkeypatch.setenv(f"TOKENS_{name}", value)
    return read_settings(Settings)


def test_the_safe_value_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch)
    assert (settings.mode, settings.host, settings.port) == ("production", "127.0.0.1", 8004)
    assert settings.onboarding_url == "http://onboarding:8003"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"KEY_REFRESH_SECONDS": "15"}, "TOKENS_KEY_AHEAD_SECONDS, TOKENS_KEY_REFRESH_SECONDS"),
        ({"KEY_AHEAD_SECONDS": "0"}, "TOKENS_KEY_AHEAD_SECONDS, TOKENS_KEY_REFRESH_SECONDS"),
        ({"ROTATE_AFTER": "PT10S"}, "TOKENS_ROTATE_AFTER"),
        ({"ONBOARDING_URL": "onboarding:8003"}, "TOKENS_ONBOARDING_URL"),
        ({"ISSUER_URL": "http://issuer:8002/?key=1"}, "TOKENS_ISSUER_URL"),
        ({"KEY_ENCRYPTION_KEYS": "1:short"}, "TOKENS_KEY_ENCRYPTION_KEYS"),
        ({"LANE": "2"}, "TOKENS_LANE: there is no such setting"),
    ],
)
def test_it_does_not_start_with(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], named: str) -> None:
    with pytest.raises(WrongSettings) as refused:
        read(monkeypatch, **changes)
    assert named in str(refused.value)
