"""What the shop is told, and what it will not be told."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from rewards_shop.__main__ import settings_or_none
from rewards_shop.settings import load_settings

NEEDED = {
    "SHOP_PLATFORM_URL": "https://points.example/",
    "SHOP_CLIENT_ID": "marigold",
    "SHOP_CLIENT_SECRET": "s3cret",
    "SHOP_VENDOR_ID": "marigold",
    "SHOP_STATE_PATH": "shop.sqlite",
    "SHOP_SESSION_SECRET": "x" * 32,
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_rest_follows_from_the_platform_and_the_vendor(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert settings.platform_url == "https://points.example"
    assert settings.account_url == "https://points.example/account"
    assert settings.issuer == "https://points.example/tenants/demo"
    assert settings.jwks_url == "https://points.example/tenants/demo/jwks.json"
    assert settings.audience == "marigold"
    assert "s3cret" not in repr(settings)


def test_secrets_may_come_from_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("SHOP_CLIENT_SECRET")
    environment.setenv("SHOP_SECRETS_DIR", str(tmp_path))
    (tmp_path / "shop_client_secret").write_text("from a file")
    assert load_settings().client_secret.get_secret_value() == "from a file"


def test_plain_http_is_for_this_machine_only(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SHOP_PLATFORM_URL", "http://points.example")
    with pytest.raises(ValidationError, match="must be https"):
        load_settings()
    environment.setenv("SHOP_ALLOW_PLAIN_HTTP", "true")
    assert load_settings().platform_url == "http://points.example"
    environment.delenv("SHOP_ALLOW_PLAIN_HTTP")
    environment.setenv("SHOP_PLATFORM_URL", "http://localhost:8000")
    assert load_settings()


def test_what_is_missing_is_named_without_showing_secrets(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.delenv("SHOP_CLIENT_ID")
    environment.setenv("SHOP_SESSION_SECRET", "too short")
    assert settings_or_none() is None
    said = capsys.readouterr().err
    assert "SHOP_CLIENT_ID: Field required" in said
    assert "SHOP_SESSION_SECRET" in said
    assert "too short" not in said


def test_an_address_must_be_one(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SHOP_PLATFORM_URL", "points.example")
    with pytest.raises(ValidationError, match="must be an http"):
        load_settings()
