"""The secrets of an installation for production: each service starts with them, and what is wrong is named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from local_platform.__main__ import app
from local_platform.installation import Installation
from local_platform.services import SERVICES, Service
from shared.settings import Mode, read_settings
from typer.testing import CliRunner

from .service_settings import SETTINGS


@pytest.fixture
def made(tmp_path: Path) -> Path:
    Installation(tmp_path / "secrets", "db:5432", "?sslmode=require").make()
    return tmp_path / "secrets"


def faults(directory: Path) -> list[str]:
    return Installation(directory, "db:5432", "").faults()


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_every_service_starts_with_them_in_production(
    made: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = (made / "service-peers" / "service_peers").read_text()
    monkeypatch.setenv(f"{service.prefix}SECRETS_DIR", str(made / service.name))
    monkeypatch.setenv(f"{service.prefix}SERVICE_PEERS", peers)
    monkeypatch.setenv(f"{service.prefix}PUBLIC_URL", "https://points.example")
    for other in SERVICES:
        if other.name in service.asks:
            monkeypatch.setenv(f"{service.prefix}{other.prefix}URL", f"http://{other.name}:{8000 + other.offset}")
    settings = read_settings(SETTINGS[service.name])
    assert settings.mode is Mode.PRODUCTION


def test_nothing_that_is_there_is_made_again(made: Path) -> None:
    before = {path: path.read_text() for path in made.glob("*/*")}
    lost = made / "partner-onboarding" / "onboarding_secret_pepper"
    lost.unlink()
    assert Installation(made, "db:5432", "").make() == [lost]
    assert {path: path.read_text() for path in made.glob("*/*") if path != lost} == {
        path: text for path, text in before.items() if path != lost
    }
    assert lost.read_text() != before[lost]


def test_only_their_owner_reads_them(made: Path) -> None:
    assert not faults(made)
    (made / "points-ledger" / "ledger_service_key").chmod(0o644)
    assert faults(made) == ["points-ledger/ledger_service_key: anybody on this machine can read it; chmod 600"]


def test_a_service_changes_its_key_in_three_steps_that_always_fit_together(made: Path) -> None:
    """After each step the services understand one another: the peers know the key that the service has."""
    present, following = (
        made / "points-ledger" / "ledger_service_key",
        made / "points-ledger-next" / "ledger_service_key",
    )
    peers = made / "service-peers" / "service_peers"
    before = len(json.loads(peers.read_text())["keys"])

    assert command(made, "--next-key", "points-ledger") == 0
    assert command(made, "--next-key", "points-ledger") == 0
    assert len(json.loads(peers.read_text())["keys"]) == before + 1
    assert following.stat().st_mode & 0o077 == 0

    former = json.loads(present.read_text())
    following.rename(present)
    assert command(made, "--check") == 0

    assert command(made, "--forget-former-keys") == 0
    known = json.loads(peers.read_text())["keys"]
    assert len(known) == before
    assert former["x"] not in [key["x"] for key in known]
    assert json.loads(present.read_text())["x"] in [key["x"] for key in known]


def test_a_key_that_is_to_come_is_kept_when_former_ones_are_forgotten(made: Path) -> None:
    command(made, "--next-key", "sso-issuer")
    peers = (made / "service-peers" / "service_peers").read_text()
    assert command(made, "--forget-former-keys") == 0
    assert (made / "service-peers" / "service_peers").read_text() == peers


def test_a_service_that_is_none_gets_no_key(made: Path) -> None:
    assert command(made, "--next-key", "ledger") == 2
    assert not (made / "ledger-next").exists()


def command(directory: Path, *arguments: str) -> int:
    return CliRunner().invoke(app, ["secrets", str(directory), *arguments]).exit_code


def another(directory: Path) -> str:
    return (directory / "sso-issuer" / "issuer_service_key").read_text()


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("points-ledger/ledger_service_key", another, "no private key on P-256 whose kid is points-ledger"),
        ("points-ledger/ledger_service_key", lambda _: "{}", "no private JWK"),
        ("service-peers/service_peers", lambda _: '{"keys": []}', "lacks its public half"),
        ("service-peers/service_peers", lambda _: "[]", "is no JWKS"),
        ("token-service/tokens_key_encryption_keys", lambda _: "1:c2hvcnQ=", "must be 1:<base64 of 32 bytes>,2:…"),
        ("partner-onboarding/onboarding_secret_pepper", lambda _: "c2hvcnQ=", "at least 32 random bytes"),
        (
            "partner-onboarding/onboarding_secret_pepper",
            lambda made: (made / "partner-onboarding" / "onboarding_account_name_key").read_text(),
            "secret_pepper and account_name_key must differ",
        ),
        ("sso-issuer/issuer_database_url", lambda _: "postgresql://sso_issuer:x@db/y", "has another password"),
        ("sso-issuer/issuer_database_url", lambda _: "postgresql://postgres:x@db/y", "signs in as postgres"),
        ("sso-issuer-owner/issuer_migration_database_url", lambda _: "sqlite:///x", "must be postgresql://"),
        ("sso-issuer/issuer_key_encryption_keys", lambda _: "1:demo/abc", "made for a demonstration"),
    ],
)
def test_what_is_wrong_is_named(made: Path, file: str, text: Callable[[Path], str], fault: str) -> None:
    (made / file).write_text(text(made))
    assert any(fault in each for each in faults(made))


def test_the_command_makes_them_and_says_who_reads_what(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    missing = CliRunner().invoke(app, ["secrets", str(directory), "--check"])
    assert missing.exit_code == 1
    assert "points-ledger/ledger_service_key: missing" in missing.stderr
    assert not directory.exists()
    made = CliRunner().invoke(app, ["secrets", str(directory)])
    assert made.exit_code == 0, made.output
    assert made.stdout.endswith("All of them are there and fit together.\n")
    secret = (directory / "points-ledger-database" / "password").read_text()
    assert secret not in made.output
    assert "service-peers" in made.stdout
    assert CliRunner().invoke(app, ["secrets", str(directory), "--check"]).exit_code == 0
