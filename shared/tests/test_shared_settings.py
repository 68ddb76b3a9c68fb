"""A service starts with settings that make sense, or says which do not, and never what they are."""

import json
import os
from ipaddress import ip_network
from pathlib import Path

import pytest
from platform_testing.callers import ServiceKeys
from pydantic import SecretStr
from shared.settings import (
    Mode,
    ServiceSettings,
    WrongSettings,
    load,
    load_database_settings,
    read_settings,
    settings_config,
)

SECRET = "hush-hush-9f3a"


class Settings(ServiceSettings):
    model_config = settings_config("SAMPLE_")

    api_key: SecretStr = SecretStr("none")
    words: frozenset[str] = frozenset()


@pytest.fixture
def given(service_keys: ServiceKeys, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that suffices; a test spoils it."""
    for name in [name for name in os.environ if name.upper().startswith("SAMPLE_")]:
        monkeypatch.delenv(name)
    good = {
        "PORT": "8123",
        "DATABASE_URL": f"postgresql://role:{SECRET}@localhost/sample",
        "PUBLIC_URL": "https://points.example",
        "SERVICE_KEY": service_keys.private("points-ledger"),
        "SERVICE_PEERS": service_keys.peers,
    }
    for name, value in good.items():
        monkeypatch.setenv(f"SAMPLE_{name}", value)
    return monkeypatch


def complaint() -> str:
    with pytest.raises(WrongSettings) as wrong:
        read_settings(Settings)
    assert SECRET not in str(wrong.value)
    return str(wrong.value)


def test_the_safe_value_is_the_default(given: pytest.MonkeyPatch) -> None:
    settings = read_settings(Settings)
    assert settings.mode is Mode.PRODUCTION
    assert settings.host == "127.0.0.1"
    assert settings.trusted_proxies == ()
    assert settings.port == 8123


def test_secrets_are_not_shown(given: pytest.MonkeyPatch, service_keys: ServiceKeys) -> None:
    settings = read_settings(Settings)
    private = json.loads(service_keys.private("points-ledger"))["d"]
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert SECRET not in shown
        assert private not in shown


def test_names_are_read_in_any_case_and_lists_with_commas(given: pytest.MonkeyPatch) -> None:
    given.delenv("SAMPLE_PORT")
    given.setenv("sample_port", "8124")
    given.setenv("SAMPLE_TRUSTED_PROXIES", "10.0.0.0/8, ::1/128,")
    settings = read_settings(Settings)
    assert settings.port == 8124
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))


def test_the_ports_of_the_platform_s_own_parts_are_those_of_its_addresses_and_those_that_it_is_told(
    given: pytest.MonkeyPatch,
) -> None:
    given.setenv("SAMPLE_DATABASE_URL", f"postgresql://role:{SECRET}@one:5433,[::1]:5434/sample")
    given.setenv("SAMPLE_INNER_PORTS", "8001,8004")
    given.setenv("SAMPLE_PUBLIC_URL", "https://points.example:8443")
    assert read_settings(Settings).own_ports == {8123, 5433, 5434, 8001, 8004}


@pytest.mark.parametrize("url", ["https://points.example/", "https://points.example//", "https://points.example"])
def test_the_public_address_has_no_slash_at_its_end(given: pytest.MonkeyPatch, url: str) -> None:
    """It is the audience of access tokens, compared letter by letter."""
    given.setenv("SAMPLE_PUBLIC_URL", url)
    assert read_settings(Settings).public_url == "https://points.example"


@pytest.mark.parametrize("name", ["PORT", "DATABASE_URL", "PUBLIC_URL", "SERVICE_KEY", "SERVICE_PEERS"])
def test_what_is_missing_is_named(given: pytest.MonkeyPatch, name: str) -> None:
    given.delenv(f"SAMPLE_{name}")
    assert complaint() == f"SAMPLE_{name}: Field required"


def test_all_that_is_missing_is_named_at_once(given: pytest.MonkeyPatch) -> None:
    given.delenv("SAMPLE_PORT")
    given.delenv("SAMPLE_PUBLIC_URL")
    assert [line.partition(":")[0] for line in complaint().splitlines()] == ["SAMPLE_PORT", "SAMPLE_PUBLIC_URL"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", SECRET),
        ("PORT", ""),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("MODE", SECRET),
        ("LOG_LEVEL", SECRET),
        ("LOG_LEVEL", "INFO\nX"),
        ("DATABASE_URL", SECRET),
        ("DATABASE_URL", f"mysql://{SECRET}"),
        ("PUBLIC_URL", SECRET),
        ("PUBLIC_URL", "ftp://points.example"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "https:///path"),
        ("PUBLIC_URL", f"https://points.example/?x={SECRET}"),
        ("PUBLIC_URL", f"https://points.example/#{SECRET}"),
        ("PUBLIC_URL", f"https://user:{SECRET}@points.example"),
        ("PUBLIC_URL", "https://points.example/\nX"),
        ("TRUSTED_PROXIES", f"10.0.0.0/8,{SECRET}"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("MAX_BODY_BYTES", "12"),
        ("DATABASE_POOL_SIZE", "-1"),
        ("WORDS", SECRET),
        ("WORDS", f'["{SECRET}'),
    ],
)
def test_what_is_malformed_is_named_and_not_repeated(given: pytest.MonkeyPatch, name: str, value: str) -> None:
    given.setenv(f"SAMPLE_{name}", value)
    assert {line.partition(":")[0] for line in complaint().splitlines()} == {f"SAMPLE_{name}"}


def test_a_name_that_nobody_reads_is_named(given: pytest.MonkeyPatch) -> None:
    given.setenv("SAMPLE_DATABSE_URL", SECRET)
    assert complaint() == "SAMPLE_DATABSE_URL: there is no such setting"


def test_what_others_read_is_left_to_them(given: pytest.MonkeyPatch) -> None:
    given.setenv("SAMPLER_PORT", "x")
    given.setenv("OTHER_SAMPLE_PORT", "x")
    assert read_settings(Settings)


# ——— keys that belong together ———


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_KEY", SECRET),
        ("SERVICE_KEY", "[]"),
        ("SERVICE_KEY", json.dumps({"kid": "points-ledger", "d": SECRET})),
        ("SERVICE_PEERS", SECRET),
        ("SERVICE_PEERS", "{}"),
        ("SERVICE_PEERS", json.dumps({"keys": [{"x": SECRET}]})),
        ("SERVICE_PEERS", json.dumps({"keys": [{"kid": "points-ledger", "d": SECRET}]})),
    ],
)
def test_keys_that_cannot_be_used_are_named(given: pytest.MonkeyPatch, name: str, value: str) -> None:
    given.setenv(f"SAMPLE_{name}", value)
    assert complaint().startswith(f"SAMPLE_{name}: must ")


def test_a_service_whose_key_nobody_knows_does_not_start(given: pytest.MonkeyPatch, service_keys: ServiceKeys) -> None:
    public = json.loads(service_keys.peers)["keys"]
    others = [key for key in public if key["kid"] != "points-ledger"]
    given.setenv("SAMPLE_SERVICE_PEERS", json.dumps({"keys": others}))
    assert "service_peers does not have the public half of service_key" in complaint()
    strangers = json.loads(ServiceKeys().peers)["keys"]
    given.setenv("SAMPLE_SERVICE_PEERS", json.dumps({"keys": strangers}))
    assert complaint().startswith("SAMPLE_SERVICE_KEY, SAMPLE_SERVICE_PEERS: ")
    # While it changes its key, both are there.
    for both in ([*strangers, *public], [*public, *strangers]):
        given.setenv("SAMPLE_SERVICE_PEERS", json.dumps({"keys": both}))
        assert read_settings(Settings).service_peers == json.dumps({"keys": both})


# ——— production ———


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "http://points.example"),
        ("API_KEY", f"demo-{SECRET}"),
        ("API_KEY", f"demo/{SECRET}"),
        ("API_KEY", f"1:demo/{SECRET}"),
        ("DATABASE_URL", f"postgresql://role:demo-{SECRET}@localhost/sample"),
    ],
)
def test_production_refuses_what_was_made_for_a_demonstration(given: pytest.MonkeyPatch, name: str, value: str) -> None:
    given.setenv(f"SAMPLE_{name}", value)
    said = complaint()
    assert f"SAMPLE_{name}" in said
    assert "production" in said
    given.setenv("SAMPLE_MODE", "development")
    assert read_settings(Settings).mode is Mode.DEVELOPMENT


def test_production_refuses_a_service_key_that_was_made_for_a_demonstration(
    given: pytest.MonkeyPatch, service_keys: ServiceKeys
) -> None:
    key = json.loads(service_keys.private("points-ledger"))
    given.setenv("SAMPLE_SERVICE_KEY", json.dumps({**key, "made_for": "demo"}))
    assert "SAMPLE_SERVICE_KEY" in complaint()
    given.setenv("SAMPLE_MODE", "development")
    assert read_settings(Settings)


def test_production_takes_secrets_that_merely_speak_of_demonstrations(given: pytest.MonkeyPatch) -> None:
    given.setenv("SAMPLE_API_KEY", "my-demo-key-for-democracy")
    given.setenv("SAMPLE_DATABASE_URL", "postgresql://demo_role:x@demonstration/demo")
    assert read_settings(Settings)


# ——— the directory of secrets ———


@pytest.fixture
def directory(given: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    given.setenv("SAMPLE_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_a_setting_may_lie_in_a_file(given: pytest.MonkeyPatch, directory: Path) -> None:
    given.delenv("SAMPLE_DATABASE_URL")
    (directory / "sample_database_url").write_text("postgresql://role:from-a-file@localhost/sample\n")
    url = read_settings(Settings).database_url.get_secret_value()
    assert url == "postgresql://role:from-a-file@localhost/sample"


def test_the_environment_goes_before_the_file(given: pytest.MonkeyPatch, directory: Path) -> None:
    (directory / "sample_port").write_text("9999")
    assert read_settings(Settings).port == 8123


def test_a_file_that_nobody_reads_is_named(directory: Path) -> None:
    (directory / "sample_databse_url").write_text(SECRET)
    assert complaint() == "sample_databse_url: there is no such setting"


def test_other_files_are_left_alone(directory: Path) -> None:
    """Kubernetes puts its own beside them, and several services may share a directory."""
    (directory / "..data").mkdir()
    (directory / "ledger_port").write_text("x")
    assert read_settings(Settings)


def test_a_malformed_file_is_named_and_not_repeated(given: pytest.MonkeyPatch, directory: Path) -> None:
    given.delenv("SAMPLE_PORT")
    (directory / "sample_port").write_text(SECRET)
    assert complaint().startswith("SAMPLE_PORT: ")
    (directory / "sample_port").write_bytes(b"\xff\xfe")
    assert complaint().startswith("SAMPLE_PORT: ")


def test_production_refuses_a_demonstration_secret_in_a_file(directory: Path) -> None:
    (directory / "sample_api_key").write_text(f"demo-{SECRET}\n")
    assert "SAMPLE_API_KEY" in complaint()


def test_a_directory_that_is_not_there_is_named(given: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given.setenv("SAMPLE_SECRETS_DIR", str(tmp_path / "nowhere"))
    assert complaint().startswith("SAMPLE_SECRETS_DIR: ")


# ——— the process ———


def test_a_process_with_wrong_settings_says_so_and_ends_with_2(
    given: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given.setenv("SAMPLE_PORT", SECRET)
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert "SAMPLE_PORT: " in said.err
    assert SECRET not in said.err + said.out
    assert "Traceback" not in said.err


def test_settings_do_not_change(given: pytest.MonkeyPatch) -> None:
    settings = load(Settings)
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def test_each_service_reads_its_own_prefix(given: pytest.MonkeyPatch) -> None:
    class Other(ServiceSettings):
        model_config = settings_config("OTHER_")

    with pytest.raises(WrongSettings) as wrong:
        read_settings(Other)
    assert {line.partition("_")[0] for line in str(wrong.value).splitlines()} == {"OTHER"}


def test_a_command_needs_only_the_settings_that_it_uses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Settings(ServiceSettings):
        model_config = settings_config("ALONE_")

    url = "postgresql://role:password@db-1,db-2/name?sslmode=require"
    monkeypatch.setenv("ALONE_DATABASE_URL", url)
    # What else the service is given may stand beside it, though it is wrong for this.
    monkeypatch.setenv("ALONE_PORT", "no port")
    assert load_database_settings(Settings).database_url.get_secret_value() == url
    monkeypatch.setenv("ALONE_DATABASE_URL", "postgresql://role:hidden@db/name?sslmode=maybe")
    with pytest.raises(SystemExit):
        load_database_settings(Settings)
    said = capsys.readouterr().err
    assert "ALONE_DATABASE_URL: must have one of" in said
    assert "hidden" not in said
    monkeypatch.delenv("ALONE_DATABASE_URL")
    with pytest.raises(SystemExit):
        load_database_settings(Settings)
    assert "ALONE_DATABASE_URL: Field required" in capsys.readouterr().err
