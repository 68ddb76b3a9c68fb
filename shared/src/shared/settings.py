"""The settings that every service reads from its environment, and the errors for wrong ones.

Each service derives its own class with its own prefix:

    class Settings(ServiceSettings):
        model_config = settings_config("LEDGER_")

Every setting may also lie in a file (`ledger_database_url`) in the directory that `LEDGER_SECRETS_DIR` names,
which is how containers hand over secrets.
"""

import json
import os
import re
import sys
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from shared.database_url import checked_database_url
from shared.rate_limits import CountsUrl
from shared.tracing import can_trace

IpNetwork = IPv4Network | IPv6Network

#: The mark of every secret that the local platform makes for a demonstration.
_DEMO_SECRET = re.compile(r"""(^|[:"'])demo[-/"']""")


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


#: A list in the environment is written with commas: `10.0.0.0/8,127.0.0.1/32`.
CommaSeparated = (NoDecode, BeforeValidator(_split))


def _of_a_service(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
        raise ValueError("must be http:// or https:// and a host, without a query")
    return value.rstrip("/")


#: The internal address of another service.
InternalUrl = Annotated[str, AfterValidator(_of_a_service)]


def _of_a_collector(value: str | None) -> str | None:
    if value is not None:
        _of_a_service(value)
        if not can_trace():
            raise ValueError("needs the extra [tracing], which is not installed")
    return value


#: The address of a collector of traces.
TracesUrl = Annotated[str | None, AfterValidator(_of_a_collector)]


#: The description of `port`, which each service gives a default of its own.
PORT_MEANING = "The port the service listens on."


class Mode(StrEnum):
    """Development allows plain http and secrets made for a demonstration; production refuses both."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


def settings_config(prefix: str) -> SettingsConfigDict:
    """The pydantic configuration of a service's settings; `prefix` as in `LEDGER_`."""
    return SettingsConfigDict(env_prefix=prefix, frozen=True, extra="forbid", hide_input_in_errors=True)


class DatabaseSettings(BaseSettings):
    """What commands need that work on the database and nothing else."""

    database_url: SecretStr = Field(
        ...,
        description="The service's own database: `postgresql://role:password@host:port/database`. Several hosts and"
        " libpq's parameters are understood, such as `?sslmode=verify-full&sslrootcert=/run/ca.pem"
        "&target_session_attrs=read-write&connect_timeout=3`.",
    )
    migration_database_url: SecretStr | None = Field(
        None,
        description="The same database by the role that owns its tables. `migrate` uses it, and grants the role of"
        " `DATABASE_URL` what it must do; no other process needs it. Without it that role owns the tables.",
    )
    database_pool_size: int = Field(
        10, ge=2, le=200, description="Connections of the pool; the lines of group commit have their own beside it."
    )
    database_wait_seconds: float = Field(
        5.0, gt=0, description="How long a request waits for a free connection before the service answers 503."
    )
    database_statement_seconds: float = Field(
        6.0,
        gt=0,
        le=300,
        description="How long one statement may take before the service answers 503.",
    )
    database_statement_cache: int = Field(
        200,
        ge=0,
        description="Prepared statements that one connection keeps; 0 behind PgBouncer in transaction mode.",
    )
    database_distributed: bool = Field(
        False,
        description="Whether the tables are distributed by tenant: set it once `distribute` has done that. Each"
        " transaction of a line is then of one tenant, which all its statements name.",
    )

    @field_validator("database_url", "migration_database_url")
    @classmethod
    def _of_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            checked_database_url(value.get_secret_value())
        return value


class ServiceSettings(DatabaseSettings):
    """The settings that all services have. The safe value is the default."""

    mode: Mode = Field(
        Mode.PRODUCTION,
        description="`development` allows plain http and demonstration secrets; `production` refuses both.",
    )
    host: str = Field("127.0.0.1", description="The address the service listens on; in its image `0.0.0.0`.")
    port: int = Field(..., ge=1, le=65535, description=PORT_MEANING)
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that serve behind the port, each with its own connections to the database, at most one a"
        " processor. `/metrics` and `/readyz` tell of all.",
    )
    public_url: str = Field(..., description="The address of the gateway as callers know it: the cloud API URL.")
    service_key: SecretStr = Field(
        ..., description="The service's own private key, a JWK (EC P-256); its `kid` is the service's name."
    )
    service_peers: str = Field(..., description="The public keys of all services, its own among them: a JWKS.")
    trusted_proxies: Annotated[tuple[IpNetwork, ...], *CommaSeparated] = Field(
        (),
        description="Networks whose `X-Forwarded-For` the service believes: `10.0.0.0/8,127.0.0.1/32`.",
    )
    rate_limit_url: CountsUrl = Field(
        SecretStr("memory://"),
        description="The store of counters before 429: `memory://`; for several replicas `redis://…` or `valkey://…`.",
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, description="The longest body of an ordinary request.")
    requests_per_client: int = Field(
        600_000,
        ge=0,
        description="How many requests a client may send to one process within a minute; 0 for any number.",
    )
    head_seconds: float = Field(
        10, gt=0, description="How long a connection may take to send a request's head, or the rest of an answered one."
    )
    body_seconds: float = Field(60, gt=0, description="How long the body of an ordinary call may take to come in.")
    body_idle_seconds: float = Field(
        20, gt=0, description="How long a body, also that of an import, may pause between two pieces."
    )
    inner_ports: Annotated[tuple[int, ...], *CommaSeparated] = Field(
        (),
        description="Further ports of this machine on which parts of the platform listen: `8001,8002`. No webhook goes"
        " there. Only development needs it, since production sends nothing to its own machine.",
    )
    drain_seconds: float = Field(
        3,
        ge=0,
        description="How long after SIGTERM all is served while `/readyz` says 503 and answers close connections.",
    )
    shutdown_seconds: int = Field(20, ge=1, description="How long running requests may take to end after that.")
    sandboxes: bool = Field(
        False, description="Whether production may have sandbox tenants, whose clock can be moved; development may."
    )
    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="`DEBUG`, `INFO`, `WARNING` or `ERROR`."
    )

    log_one_of: int = Field(
        1,
        ge=1,
        description="Of so many requests that end well one has a log line, which says `one_of`. Refusals, failures,"
        " slow and traced requests always have one; figures count all.",
    )
    log_slow_seconds: float = Field(1.0, ge=0, description="A request that takes longer always has a log line.")
    traces_url: TracesUrl = Field(
        None,
        description="Where traces go, by OTLP over HTTP: `http://collector:4318/v1/traces`. Without it there are none.",
    )
    traces_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="The share of requests without a `traceparent` that are traced; with one, its caller decides.",
    )

    @property
    def allows_sandboxes(self) -> bool:
        return self.sandboxes or self.mode is Mode.DEVELOPMENT

    @property
    def own_ports(self) -> frozenset[int]:
        """The ports on which the platform itself listens inside: its services, its databases and its other parts."""
        named = ((name, value) for name, value in self if name.endswith("_url") and name != "public_url")
        urls = (value.get_secret_value() if isinstance(value, SecretStr) else str(value) for _, value in named)
        return frozenset((self.port, *self.inner_ports, *(port for url in urls for port in _ports_of(url))))

    @field_validator("public_url")
    @classmethod
    def _without_trailing_slash(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
            raise ValueError("must be https:// (or, in development, http://) and a host, without a query")
        return value.rstrip("/")

    @field_validator("service_key")
    @classmethod
    def _is_private_key(cls, value: SecretStr) -> SecretStr:
        key = _json_object(value.get_secret_value())
        is_whole = all(isinstance(key.get(part), str) for part in ("kid", "x", "y", "d"))
        if not is_whole or (key.get("kty"), key.get("crv")) != ("EC", "P-256"):
            raise ValueError("must be a private JWK of the curve P-256, with a kid")
        return value

    @field_validator("service_peers")
    @classmethod
    def _are_public_keys(cls, value: str) -> str:
        keys = _json_object(value).get("keys")
        if not isinstance(keys, list) or not all(isinstance(key, dict) and "kid" in key for key in keys):
            raise ValueError("must be a JWKS whose keys have a kid")
        if any("d" in key for key in keys):
            raise ValueError("must hold public keys only; one of them is private")
        return value

    @model_validator(mode="after")
    def _is_one_of_its_peers(self) -> Self:
        own = json.loads(self.service_key.get_secret_value())
        # While a service changes its key, both are there.
        published = [key for key in json.loads(self.service_peers)["keys"] if key["kid"] == own["kid"]]
        if not published:
            raise ValueError(
                "service_peers does not have the public half of service_key, so no other service would accept this one"
            )
        if (own["x"], own["y"]) not in [(key.get("x"), key.get("y")) for key in published]:
            raise ValueError("service_peers has another key than service_key under the same kid")
        return self

    @model_validator(mode="after")
    def _fit_for_production(self) -> Self:
        if self.mode is Mode.PRODUCTION:
            if not self.public_url.startswith("https://"):
                raise ValueError("public_url must be https:// in production mode")
            for name in type(self).model_fields:
                value = getattr(self, name)
                if isinstance(value, SecretStr) and _DEMO_SECRET.search(value.get_secret_value()):
                    raise ValueError(f"{name} is a demonstration secret; production mode does not start with it")
        return self


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return value


S = TypeVar("S", bound=DatabaseSettings)


class WrongSettings(Exception):
    """The service cannot start in this environment. The text says which settings to change."""


def read_settings(settings_class: type[S]) -> S:
    """Reads `settings_class` from the environment and its secrets directory.

    Raises:
        WrongSettings: something is missing, malformed, contradictory, or unknown under the prefix.
    """
    return _read(settings_class, known=settings_class)


def _read(settings_class: type[S], *, known: type[DatabaseSettings]) -> S:
    prefix = str(settings_class.model_config["env_prefix"])
    names = {prefix + name.upper() for name in known.model_fields} | {f"{prefix}SECRETS_DIR"}
    directory = os.environ.get(f"{prefix}SECRETS_DIR")
    if directory is not None and not Path(directory).is_dir():
        raise WrongSettings(f"{prefix}SECRETS_DIR: there is no directory {directory}")
    files = [] if directory is None else [file.name for file in Path(directory).iterdir()]
    unknown = sorted(
        name for name in {*os.environ, *files} if name.upper().startswith(prefix) and name.upper() not in names
    )
    if unknown:
        raise WrongSettings("\n".join(f"{name}: there is no such setting" for name in unknown))
    try:
        return settings_class(_secrets_dir=directory)
    except ValidationError as error:
        raise WrongSettings("\n".join(_say(detail, settings_class) for detail in error.errors())) from None
    except SettingsError as error:
        # pydantic-settings could not read a value at all. Its message names the field; its cause has no fixed form.
        raise WrongSettings(_with_names(f"{error}: it cannot be read", settings_class)) from None


def _say(detail: Any, settings_class: type[DatabaseSettings]) -> str:
    prefix = str(settings_class.model_config["env_prefix"])
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return _with_names(message, settings_class)
    return f"{prefix}{str(detail['loc'][0]).removeprefix(prefix.lower()).upper()}: {message}"


def _with_names(message: str, settings_class: type[DatabaseSettings]) -> str:
    """Puts the variables that a message mentions in front of it."""
    words = set(re.findall(r"\w+", message))
    prefix = str(settings_class.model_config["env_prefix"])
    names = [prefix + name.upper() for name in settings_class.model_fields if name in words]
    return f"{', '.join(names)}: {message}" if names else message


def load(settings_class: type[S]) -> S:
    """Reads the settings of a process that starts. Names each wrong one on standard error and exits with status 2."""
    try:
        return read_settings(settings_class)
    except WrongSettings as error:
        _exit(settings_class, error)


def _exit(settings_class: type[DatabaseSettings], error: WrongSettings) -> NoReturn:
    sys.stderr.write(f"{settings_class.__module__}: cannot start with these settings\n{error}\n")
    raise SystemExit(2) from None


def load_database_settings(settings_class: type[ServiceSettings]) -> DatabaseSettings:
    """The settings of a service's database alone, for its commands that use nothing else (`migrate`).

    Names each wrong one on standard error and exits with status 2.
    """
    return load_part(settings_class, DatabaseSettings)


def load_part(settings_class: type[ServiceSettings], part: type[S]) -> S:
    """Some of a service's settings, for a command that uses no others.

    Names each wrong one on standard error and exits with status 2.

    Args:
        part: a base class of `settings_class`.
    """
    prefix = str(settings_class.model_config["env_prefix"])
    # The service's other settings may stand beside them.
    config = settings_config(prefix) | SettingsConfigDict(extra="ignore")
    body = {"model_config": config, "__module__": settings_class.__module__}
    command_settings = cast(type[S], type("CommandSettings", (part,), body))
    try:
        return _read(command_settings, known=settings_class)
    except WrongSettings as error:
        _exit(settings_class, error)


def _ports_of(url: str) -> list[int]:
    """Of a URL that may name several hosts: `postgresql://one:5432,two:5433/points`."""
    hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
    return [int(port) for host in hosts if (port := host.rpartition(":")[2]).isdecimal()]
