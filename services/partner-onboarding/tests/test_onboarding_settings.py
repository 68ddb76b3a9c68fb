"""The service starts only with settings that make sense, and in production only with real ones."""

import base64

import pytest
from partner_onboarding.settings import Settings
from platform_testing.callers import ServiceKeys
from pydantic import SecretStr
from shared.settings import WrongSettings, read_settings

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(1, 33))).decode()
SERVICE_KEYS = ServiceKeys()
GOOD = {
    "ONBOARDING_DATABASE_URL": "postgresql://a:b@localhost/c",
    "ONBOARDING_PUBLIC_URL": "https://points.example",
    "ONBOARDING_SERVICE_KEY": SERVICE_KEYS.private("partner-onboarding"),
    "ONBOARDING_SERVICE_PEERS": SERVICE_KEYS.peers,
    "ONBOARDING_KEY_ENCRYPTION_KEYS": f"1:{KEY}",
    "ONBOARDING_SECRET_PEPPER": KEY,
    "ONBOARDING_ACCOUNT_NAME_KEY": OTHER_KEY,
}
DEMO_KEY = "demo/" + OTHER_KEY[5:]


def read(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> Settings:
    for name, value in {**GOOD, **{f"ONBOARDING_{name}": value for name, value in changes.items()}}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    return read_settings(Settings)


def test_the_safe_value_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch)
    assert settings.mode == "production"
    assert settings.port == 8003
    assert settings.session_idle_seconds < settings.session_lifetime_seconds
    assert isinstance(settings.secret_pepper, SecretStr)
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"PUBLIC_URL": "http://points.example"}, "public_url"),
        ({"KEY_ENCRYPTION_KEYS": None}, "KEY_ENCRYPTION_KEYS"),
        ({"SECRET_PEPPER": None}, "SECRET_PEPPER"),
        ({"ACCOUNT_NAME_KEY": None}, "ACCOUNT_NAME_KEY"),
        ({"SECRET_PEPPER": DEMO_KEY}, "secret_pepper"),
        ({"ACCOUNT_NAME_KEY": DEMO_KEY}, "account_name_key"),
        ({"KEY_ENCRYPTION_KEYS": f"1:{DEMO_KEY}"}, "key_encryption_keys"),
        ({"DATABASE_URL": "postgresql://a:demo-b@localhost/c"}, "database_url"),
        ({"SECRET_PEPPER": "c2hvcnQ="}, "SECRET_PEPPER"),
        ({"SECRET_PEPPER": "not base64"}, "SECRET_PEPPER"),
        ({"ACCOUNT_NAME_KEY": KEY}, "must differ"),
        ({"KEY_ENCRYPTION_KEYS": "1:short"}, "KEY_ENCRYPTION_KEYS"),
        ({"LEDGER_URL": "ledger"}, "LEDGER_URL"),
        ({"TYPO": "1"}, "ONBOARDING_TYPO"),
        ({"SESSION_IDLE_SECONDS": "7200", "SESSION_LIFETIME_SECONDS": "3600"}, "ONBOARDING_SESSION_IDLE_SECONDS"),
        ({"SMTP_HOST": "mail.example", "SMTP_USERNAME": "points"}, "ONBOARDING_SMTP_PASSWORD"),
        ({"SMTP_HOST": "mail.example", "MAIL_DIRECTORY": "mail"}, "ONBOARDING_MAIL_DIRECTORY"),
        ({"SERVICE_KEY": ServiceKeys().private("partner-onboarding")}, "ONBOARDING_SERVICE_PEERS"),
    ],
)
def test_production_does_not_start_with(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], named: str
) -> None:
    with pytest.raises(WrongSettings) as refused:
        read(monkeypatch, **changes)
    assert named in str(refused.value)
    for secret in (KEY, OTHER_KEY, DEMO_KEY):
        assert secret not in str(refused.value)


def test_development_takes_plain_http_and_demonstration_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, MODE="development", PUBLIC_URL="http://localhost:8000", SECRET_PEPPER=DEMO_KEY)
    assert settings.public_url == "http://localhost:8000"
