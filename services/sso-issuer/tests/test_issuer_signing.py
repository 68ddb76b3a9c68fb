"""Signatures of RS256 are made in processes of their own, and without them as well."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from shared.jwt import KeySet, SigningKey, VerificationKey, take_apart, verify, with_signature
from sso_issuer.keys.domain import Algorithm
from sso_issuer.keys.material import KeyPair, generate, load_private
from sso_issuer.signer import Signer, of_private_key, of_secret
from sso_issuer.signing_process import sign_all
from sso_issuer.signing_processes import NoProcess, SigningProcesses

CLAIMS = {"iss": "i", "aud": "a", "iat": 1_800_000_000, "exp": 1_800_000_060}


@pytest.fixture(scope="module")
def pairs() -> list[KeyPair]:
    return [generate(Algorithm.RS256) for _ in range(2)]


@pytest.fixture
async def processes() -> AsyncIterator[SigningProcesses]:
    # Time flies, so that nobody waits before a process is replaced.
    made = SigningProcesses(2, clock=itertools.count(step=1000).__next__)
    yield made
    await made.close()


@pytest.fixture
async def signer(processes: SigningProcesses) -> AsyncIterator[Signer]:
    made = Signer(processes)
    yield made
    await made.close()


async def _run(processes: SigningProcesses, pairs: list[KeyPair]) -> None:
    """Has the processes started."""
    with pytest.raises(NoProcess):
        await processes.sign_all([(pairs[0].private_der, bytes(32))])
    await processes.started()
    assert len(processes.pids) == 2


def _of_process(pid: int, what: str) -> bytes:
    return Path(f"/proc/{pid}/{what}").read_bytes()


def _key(pair: KeyPair) -> SigningKey:
    return of_private_key(pair.kid, pair.algorithm, load_private(pair.private_der))


def _said(token: str, pair: KeyPair) -> Any:
    """What a token says, if the signature is that of the pair."""
    keys = KeySet([VerificationKey.from_jwk(pair.public_jwk)])
    return verify(token, keys, typ="JWT", issuer="i", audience="a", now=1_800_000_001)["n"]


async def test_many_tokens_under_several_keys_come_back_in_order(
    signer: Signer, processes: SigningProcesses, pairs: list[KeyPair]
) -> None:
    await _run(processes, pairs)
    quick = of_secret("hmac", bytes(32))
    keys = [*map(_key, pairs), quick]
    orders = [(keys[n % 3], {**CLAIMS, "n": n}) for n in range(50)]
    one, other = await asyncio.gather(signer.sign_all(orders), signer.sign_all(orders))
    assert one == other
    assert one == [key.sign(claims, "JWT") for key, claims in orders]
    assert [_said(token, pairs[n % 3]) for n, token in enumerate(one) if n % 3 < 2] == [
        n for n in range(50) if n % 3 < 2
    ]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_process_that_dies_or_hangs_costs_no_token_and_is_replaced(
    signer: Signer, processes: SigningProcesses, pairs: list[KeyPair], number: signal.Signals
) -> None:
    await _run(processes, pairs)
    key, former = _key(pairs[0]), processes.pids
    orders = [(key, {**CLAIMS, "n": n}) for n in range(40)]
    os.kill(former[0], number)
    tokens = await signer.sign_all(orders)
    assert [_said(token, pairs[0]) for token in tokens] == list(range(40))
    # Who asks next has it replaced, and does not wait for that.
    assert await signer.sign_all(orders) == tokens
    await processes.started()
    assert len(processes.pids) == 2
    assert former[0] not in processes.pids
    assert former[1] in processes.pids
    assert await signer.sign_all(orders) == tokens


async def test_a_signature_made_here_is_known_and_no_other(pairs: list[KeyPair]) -> None:
    signer = Signer(SigningProcesses(0))
    ours, other = (VerificationKey.from_jwk(pair.public_jwk) for pair in pairs)
    token = await signer.sign(_key(pairs[0]), CLAIMS, is_remembered=True)
    # A key that verifies nothing, to see who is asked.
    blind = VerificationKey(ours.kid, ours.algorithm, _BlindKey())  # type: ignore[arg-type]  # it is called as one
    parts = take_apart(token)
    assert signer.signatures.is_good(parts, blind)
    # Many tokens that nobody asks about would push out those that are asked about.
    unasked = take_apart(await signer.sign(_key(pairs[0]), {**CLAIMS, "sub": "ada"}))
    assert not signer.signatures.is_good(unasked, blind)
    assert signer.signatures.is_good(unasked, ours)
    assert not signer.signatures.is_good(parts, other)
    changed = take_apart(with_signature(_key(pairs[0]).text({**CLAIMS, "sub": "eve"}, "JWT"), parts.signature))
    assert not signer.signatures.is_good(changed, blind)
    assert not signer.signatures.is_good(changed, ours)
    spoilt = take_apart(with_signature(token.rpartition(".")[0], bytes(256)))
    assert not signer.signatures.is_good(spoilt, ours)
    shared = VerificationKey.from_secret("hmac", bytes(32))
    own = take_apart(await signer.sign(of_secret("hmac", bytes(32)), CLAIMS, is_remembered=True))
    assert signer.signatures.is_good(own, shared)
    assert not signer.signatures.is_good(own, VerificationKey.from_secret("hmac", b"x" * 32))
    await signer.close()


class _BlindKey:
    def verify(self, _signed: bytes, _signature: bytes) -> bool:
        return False


async def test_a_caller_that_hangs_up_mixes_up_no_signatures(
    signer: Signer, processes: SigningProcesses, pairs: list[KeyPair]
) -> None:
    await _run(processes, pairs)
    orders = [(_key(pairs[0]), {**CLAIMS, "n": n}) for n in range(20)]
    hung_up = asyncio.create_task(signer.sign_all(orders))
    await asyncio.sleep(0)
    hung_up.cancel()
    tokens = await signer.sign_all(orders[10:])
    assert [_said(token, pairs[0]) for token in tokens] == list(range(10, 20))


async def test_without_processes_threads_sign(pairs: list[KeyPair]) -> None:
    signer = Signer(SigningProcesses(0))
    orders = [(_key(pairs[n % 2]), {**CLAIMS, "n": n}) for n in range(10)]
    tokens = await signer.sign_all(orders)
    assert [_said(token, pairs[n % 2]) for n, token in enumerate(tokens)] == list(range(10))
    await signer.close()


def test_processes_sign_also_on_the_loop_that_serves(pairs: list[KeyPair]) -> None:
    """uvloop's sockets are not those of asyncio."""

    async def sign() -> list[bytes]:
        processes = SigningProcesses(2)
        await _run(processes, pairs)
        signatures = await processes.sign_all([(pairs[0].private_der, bytes(32))] * 3)
        await processes.close()
        return signatures

    assert asyncio.Runner(loop_factory=uvloop.new_event_loop).run(sign()) == sign_all(
        pairs[0].private_der, [bytes(32)] * 3
    )


async def test_no_secret_stands_in_arguments_or_environment_of_a_process(
    processes: SigningProcesses, pairs: list[KeyPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISSUER_KEY_ENCRYPTION_KEYS", "1:secret")
    await _run(processes, pairs)
    for pid in processes.pids:
        assert b"secret" not in _of_process(pid, "environ")
        assert _of_process(pid, "cmdline").split(b"\0")[1:-1] == [b"-I", b"-m", b"sso_issuer.signing_process"]


async def test_a_process_that_is_woken_does_not_interrupt_who_sent_the_request(
    processes: SigningProcesses, pairs: list[KeyPair]
) -> None:
    await _run(processes, pairs)
    assert [os.sched_getscheduler(pid) for pid in processes.pids] == [os.SCHED_BATCH] * 2


async def test_the_processes_end_with_their_parent(processes: SigningProcesses, pairs: list[KeyPair]) -> None:
    await _run(processes, pairs)
    pids = processes.pids
    await processes.close()
    for pid in pids:
        with pytest.raises(FileNotFoundError):
            _of_process(pid, "cmdline")
    with pytest.raises(NoProcess):
        await processes.sign_all([(pairs[0].private_der, bytes(32))])
    assert processes.pids == []
