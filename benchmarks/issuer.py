"""What the issuer signs and checks over HTTP, beside a route that does nothing and beside bare signatures.

The whole platform runs, one process of each service: a redirect asks the ledger and the register, and its audit is on.
"""

import asyncio
import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
from local_platform.forms import action_of, hidden_fields
from platform_testing.callers import basic
from shared.jwt import SigningKey
from sso_issuer import signer
from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.material import generate, load_private

from benchmarks import oidc_provider, servers
from benchmarks.load import CONNECTIONS, Load, put_load
from benchmarks.platforms import POSTGRESQL, Platform, make_users, replica_of, running_platform
from benchmarks.processor_time import ProcessorTime
from benchmarks.report import Aim, Table
from benchmarks.rounds import Measure, Measured, Say, by_turns

USERS: Final = 256
FEW, MANY = 1, 128
NOTHING = "(a) FastAPI route, validates the body, does nothing"
REDIRECTS: Final = {algorithm: f"redirect, {algorithm}" for algorithm in ("ES256", "HS256", "RS256")}
SIGNATURES: Final = {algorithm: f"(b) {algorithm} signatures alone, one core" for algorithm in REDIRECTS}
ACCESS: Final = {algorithm: f"access token, client_credentials, {algorithm}" for algorithm in ("ES256", "RS256")}
PEERS: Final = {algorithm: f"(c) oidc-provider in memory, without audit, {algorithm}" for algorithm in ACCESS}
REDEMPTION = "redemption of a token"
INTROSPECTION = "introspection"
KEY_SET = "JWKS"
BROWSER = "redirect of a signed-in browser"
#: Whose processor time is shown.
_PROCESSES: Final = ("sso-issuer", "points-ledger", "partner-onboarding", POSTGRESQL)
#: The route that does nothing, or a peer.
_ALONE: Final = "alone"
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
_PATH: Final = "/sso/v1/redirects"


def run(*, seconds: float, rounds: int, say: Say) -> Table:
    with tempfile.TemporaryDirectory(prefix="points-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        say("starting the platform")
        platform = stack.enter_context(running_platform(directory))
        nothing = stack.enter_context(
            servers.uvicorn_process(
                "benchmarks.competitors.nothing_for_back_ends:app", environment={}, log=directory / "nothing.log"
            )
        )
        say(f"making {USERS} users with points")
        say("starting an issuer that signs access tokens with RS256")
        replica = stack.enter_context(
            replica_of(platform, "sso-issuer", directory / "replica.log", ISSUER_ACCESS_TOKEN_ALGORITHM="RS256")
        )
        say("installing oidc-provider")
        peer = (
            stack.enter_context(oidc_provider.running(directory / "oidc-provider.log"))
            if oidc_provider.install()
            else None
        )
        contenders = _Contenders(platform, nothing, directory, replica, peer)
        measured = by_turns(contenders.all(), seconds=seconds, rounds=rounds, say=say)
        return _table(measured, contenders.times)


def _table(measured: Measured, times: ProcessorTime) -> Table:
    def by_processor(name: str) -> str:
        """How much of the processor's time (a) takes, of what the issuer's process takes."""
        pairs = zip(times.of.get(name, ()), times.of.get(_beside(name), ()), strict=False)
        found = [beside[_ALONE] / (one.get("sso-issuer") or one[_ALONE]) for one, beside in pairs]
        return f"{statistics.median(found):.2f}" if found else ""

    def of(name: str, other: str) -> float:
        return measured.ratio(name, other) if other in measured.loads else float("nan")

    rows = [
        (
            name,
            *measured.figures(name),
            times.shown(name, _ALONE) or times.shown(name, "sso-issuer"),
            *(times.shown(name, process) for process in _PROCESSES[1:]),
            f"{measured.ratio(name, _beside(name)):.2f}",
            by_processor(name),
        )
        for name in measured.loads
    ]
    return Table(
        f"sso-issuer by turns, audit on, one process of each service, {CONNECTIONS} connections where nothing else is"
        f" said; processor µs a request",
        ("", "requests/s", "p50 ms", "p99 ms", "failures", "its process", *_PROCESSES[1:], "of (a)", "by processor"),
        rows,
        (
            Aim("redirect ES256, of (a)", measured.ratio(REDIRECTS["ES256"], NOTHING), 0.5),
            Aim("redirect HS256, of (a)", measured.ratio(REDIRECTS["HS256"], NOTHING), 0.5),
            Aim("redirect RS256, of (b)", measured.ratio(REDIRECTS["RS256"], SIGNATURES["RS256"]), 0.7),
            *(
                Aim(f"access token {algorithm}, of oidc-provider", of(name, PEERS[algorithm]), 0.9)
                for algorithm, name in ACCESS.items()
            ),
            Aim("redemption, of (a)", measured.ratio(REDEMPTION, NOTHING), 0.4),
            Aim("introspection, of (a)", measured.ratio(INTROSPECTION, NOTHING), 0.5),
            Aim("JWKS, of (a)", measured.ratio(KEY_SET, NOTHING), 0.9),
            Aim("a signed-in browser, of (a)", measured.ratio(BROWSER, NOTHING), 0.25),
        ),
    )


def _over(name: str, connections: int) -> str:
    return name if connections == CONNECTIONS else f"{name}, {connections} connection{'s' * (connections > 1)}"


def _beside(name: str) -> str:
    """The route that does nothing, over as many connections."""
    alike = (_over(NOTHING, connections) for connections in (FEW, MANY) if name.endswith(_over("", connections)))
    return next(alike, NOTHING)


class _Contenders:
    """Everything that is measured, and the processor time that it took."""

    def __init__(self, platform: Platform, nothing: str, directory: Path, replica: str, peer: str | None) -> None:
        self._platform = platform
        self._replica = replica
        self._peer = peer
        self._nothing = nothing
        self._directory = directory
        self._issuer = platform.address("sso-issuer")
        clients = platform.demo["clients"]
        self._back_end = basic(clients["platform"]["client_id"], clients["platform"]["client_secret"])
        self._vendor = basic(clients["vendor"]["client_id"], clients["vendor"]["client_secret"])
        self._vendor_id: str = clients["vendor"]["vendor_id"]
        self.times = ProcessorTime()

    def all(self) -> dict[str, Measure]:
        asyncio.run(self._prepare())
        return {
            NOTHING: self._nothing_over(CONNECTIONS),
            **{name: self._redirects(algorithm, name) for algorithm, name in REDIRECTS.items()},
            **{name: self._access_tokens(algorithm, name) for algorithm, name in ACCESS.items()},
            **{name: self._of_peer(self._peer, algorithm) for algorithm, name in PEERS.items() if self._peer},
            INTROSPECTION: self._calls(
                INTROSPECTION,
                "POST",
                self._authority("introspect"),
                _FORM,
                [f"token={token}" for token in asyncio.run(self._given_tokens(50))],
            ),
            REDEMPTION: self._redemption,
            KEY_SET: self._calls(KEY_SET, "GET", f"/tenants/{self._platform.demo['tenant']}/jwks.json", "", []),
            BROWSER: self._calls(BROWSER, "POST", f"/sso/v1/redeem/{self._vendor_id}", "", [], headers=self._browser()),
            **{
                _over(name, connections): measure
                for connections in (FEW, MANY)
                for name, measure in (
                    (NOTHING, self._nothing_over(connections)),
                    (
                        REDIRECTS["ES256"],
                        self._redirects("ES256", _over(REDIRECTS["ES256"], connections), connections),
                    ),
                )
            },
            **{name: partial(_sign, _key(algorithm)) for algorithm, name in SIGNATURES.items()},
        }

    def _redirects(self, algorithm: str, name: str, connections: int = CONNECTIONS) -> Measure:
        return self._calls(name, "POST", _PATH, _JSON, _orders(_vendor_of(algorithm)), connections=connections)

    def _access_tokens(self, algorithm: str, name: str) -> Measure:
        issuer = self._replica if algorithm == "RS256" else self._issuer
        form = ["grant_type=client_credentials"]
        return self._calls(name, "POST", self._authority("token"), _FORM, form, issuer=issuer)

    def _of_peer(self, url: str, algorithm: str) -> Measure:
        arguments = ("POST", "/token", _FORM, self._lines([oidc_provider.body(algorithm)]), "any")

        def load(seconds: float) -> Load:
            return put_load(url, "bodies.lua", seconds=seconds, headers=oidc_provider.headers(), arguments=arguments)

        return self._alone(PEERS[algorithm], url, load)

    def _nothing_over(self, connections: int) -> Measure:
        arguments = ("POST", _PATH, _JSON, self._lines(_orders("shop")), "any")

        def load(seconds: float) -> Load:
            return put_load(self._nothing, "bodies.lua", seconds=seconds, arguments=arguments, connections=connections)

        return self._alone(_over(NOTHING, connections), self._nothing, load)

    def _calls(
        self,
        name: str,
        method: str,
        path: str,
        kind: str,
        bodies: Sequence[str],
        *,
        headers: Mapping[str, str] | None = None,
        connections: int = CONNECTIONS,
        issuer: str | None = None,
    ) -> Measure:
        arguments = (method, path, kind, self._lines(bodies), "any")
        sent = self._back_end if headers is None else headers

        def load(seconds: float) -> Load:
            return put_load(
                issuer or self._issuer,
                "bodies.lua",
                seconds=seconds,
                headers=sent,
                arguments=arguments,
                connections=connections,
            )

        return lambda seconds: self._accounted(name, load, seconds, self._spent_with(issuer))

    def _spent_with(self, issuer: str | None) -> Callable[[], Mapping[str, float]]:
        """The processor time of all processes so far, with another one in the issuer's place."""
        if issuer is None:
            return self._platform.processor_seconds
        process = servers.listening()[int(issuer.rpartition(":")[2])]
        return lambda: self._platform.processor_seconds() | {"sso-issuer": servers.processor_seconds(process)}

    def _alone(self, name: str, url: str, load: Callable[[float], Load]) -> Measure:
        process = servers.listening()[int(url.rpartition(":")[2])]
        return lambda seconds: self._accounted(
            name, load, seconds, lambda: {_ALONE: servers.processor_seconds(process)}
        )

    def _accounted(
        self,
        name: str,
        load: Callable[[float], Load],
        seconds: float,
        spent: Callable[[], Mapping[str, float]] | None = None,
    ) -> Load:
        return self.times.account(name, load, seconds, spent or self._platform.processor_seconds)

    def _redemption(self, seconds: float) -> Load:
        """Redeems tokens that were issued just before, each once. More are issued than can be redeemed in this time."""
        kept = self._directory / f"tokens-{secrets.token_hex(4)}"
        issuing = ("POST", _PATH, _JSON, self._lines(_orders(self._vendor_id)), "any", str(kept))
        put_load(self._issuer, "bodies.lua", seconds=3 * seconds, headers=self._back_end, arguments=issuing)
        tokens = [line for part in self._directory.glob(f"{kept.name}.*") for line in part.read_text().splitlines()]
        arguments = (
            "POST",
            "/sso/v1/tokens/redeem",
            _JSON,
            self._lines([f'{{"token":"{t}"}}' for t in tokens]),
            "once",
        )

        def load(seconds: float) -> Load:
            return put_load(self._issuer, "bodies.lua", seconds=seconds, headers=self._vendor, arguments=arguments)

        return self._accounted(REDEMPTION, load, seconds)

    async def _prepare(self) -> None:
        """Users with points, and a vendor of each algorithm."""
        gateway = self._platform.demo["gateway"]
        async with httpx.AsyncClient(base_url=gateway, headers=self._back_end, trust_env=False, timeout=30) as http:
            await make_users(http, (f"bench-{number}" for number in range(USERS)), points=1000)
            vendors = {_vendor_of(algorithm): algorithm for algorithm in REDIRECTS} | {self._vendor_id: "ES256"}
            for vendor_id, algorithm in vendors.items():
                agreement = {
                    "name": vendor_id,
                    "redirect_url": "https://rewards.example/redeem",
                    "algorithm": algorithm,
                    "lifetime_seconds": 300,
                }
                _good(await http.put(f"/sso/v1/vendors/{vendor_id}", json=agreement))
            _good(await http.post(f"/sso/v1/vendors/{_vendor_of('HS256')}/secrets", json={}))

    async def _given_tokens(self, count: int) -> list[str]:
        async with httpx.AsyncClient(base_url=self._issuer, headers=self._back_end, trust_env=False) as http:
            form = {"grant_type": "client_credentials"}
            answers = [_good(await http.post(self._authority("token"), data=form)) for _ in range(count)]
        return [answer["access_token"] for answer in answers]

    def _browser(self) -> dict[str, str]:
        """The headers of a signed-in browser."""
        user = self._platform.demo["users"][0]
        with httpx.Client(base_url=self._platform.demo["gateway"], trust_env=False, timeout=30) as http:
            page = http.get("/login", headers={"Accept": "text/html"})
            form = hidden_fields(page.text) | {name: user[name] for name in ("email", "password")}
            answer = http.post(str(page.url.join(action_of(page.text))), data=form)
            if not answer.is_redirect:
                raise RuntimeError(f"cannot sign in: {answer.status_code}")
            cookies = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
        return {"Cookie": cookies, "Accept": _JSON}

    def _authority(self, endpoint: str) -> str:
        return f"/tenants/{self._platform.demo['tenant']}/oauth/{endpoint}"

    def _lines(self, lines: Sequence[str]) -> str:
        if not lines:
            return ""
        file = self._directory / f"bodies-{secrets.token_hex(4)}"
        file.write_text("".join(f"{line}\n" for line in lines))
        return str(file)


def _vendor_of(algorithm: str) -> str:
    return f"bench-{algorithm.lower()}"


def _orders(vendor_id: str) -> list[str]:
    return [json.dumps({"user_id": f"bench-{number}", "vendor_id": vendor_id}) for number in range(USERS)]


def _good(answer: httpx.Response) -> Any:
    if not answer.is_success:
        raise RuntimeError(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}")
    return answer.json()


def _key(algorithm: str) -> SigningKey:
    if algorithm == "HS256":
        return signer.of_secret("bench", secrets.token_bytes(32))
    chosen = Algorithm(algorithm)
    return signer.of_private_key("bench", chosen, load_private(generate(chosen).private_der))


def _sign(key: SigningKey, seconds: float) -> Load:
    """Signs in one thread, for a quarter of the time: it never waits."""
    claims = {"userid": "bench-1", "points": 1000, "email": "ada@example.com", "jti": secrets.token_urlsafe(16)}
    times, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds / 4:
        key.sign(claims, "JWT")
        times += 1
    return Load(times / passed, float("nan"), float("nan"), 0)
