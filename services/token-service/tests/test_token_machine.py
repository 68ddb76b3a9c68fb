"""Use and revocation against a model: a machine issues, verifies, looks and revokes in any order."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from platform_testing.callers import FakeRegister
from platform_testing.serving import running
from token_service.app import create_app

from .campaign_house import House
from .conftest import MakeSettings

CAMPAIGNS = st.sampled_from(["spring", "autumn"])


@dataclass
class Modelled:
    """What a token must answer."""

    campaign_id: str
    max_uses: int | None
    uses: int = 0
    is_revoked: bool = False

    def answer(self) -> tuple[int, str | None]:
        if self.is_revoked:
            return 403, "token_revoked"
        if self.max_uses is not None and self.uses >= self.max_uses:
            return 409, "token_used_up"
        return 200, None


@dataclass
class Model:
    tokens: dict[str, Modelled] = field(default_factory=dict)
    refused: dict[tuple[str, str], int] = field(default_factory=dict)


def machine_for(house: House, run: Callable[[Any], Any]) -> type[RuleBasedStateMachine]:
    """The machine, for a running service."""

    class Campaigns(RuleBasedStateMachine):
        tokens = Bundle("tokens")
        count = 0

        def __init__(self) -> None:
            super().__init__()
            type(self).count += 1
            # Each run has campaigns of its own.
            self.suffix = f"-{self.count}"
            self.model = Model()

        def call(self, method: str, path: str, **given: Any) -> httpx.Response:
            answer: httpx.Response = run(house.client.request(method, path, headers=house.headers, **given))
            return answer

        @rule(target=tokens, campaign_id=CAMPAIGNS, max_uses=st.none() | st.integers(1, 3))
        def issue(self, campaign_id: str, max_uses: int | None) -> str:
            token: str = run(house.issue(campaign_id=campaign_id + self.suffix, max_uses=max_uses))
            assert token not in self.model.tokens
            self.model.tokens[token] = Modelled(campaign_id, max_uses)
            return token

        @rule(token=tokens)
        def verify(self, token: str) -> None:
            modelled = self.model.tokens[token]
            expected = modelled.answer()
            answer = self.call("POST", f"/v1/tokens/{token}/verify")
            assert (answer.status_code, answer.json().get("code")) == expected
            if expected[1] is None:
                modelled.uses += 1
                assert answer.json()["uses"] == modelled.uses
            else:
                reason = (modelled.campaign_id, expected[1])
                self.model.refused[reason] = self.model.refused.get(reason, 0) + 1

        @rule(token=tokens)
        def look(self, token: str) -> None:
            modelled = self.model.tokens[token]
            answer = self.call("GET", f"/v1/tokens/{token}")
            assert (answer.status_code, answer.json().get("code")) == modelled.answer()
            if answer.status_code == 200:
                assert answer.json()["uses"] == modelled.uses

        @rule(token=tokens, times=st.integers(2, 6))
        def verify_at_once(self, token: str, times: int) -> None:
            async def all_at_once() -> list[httpx.Response]:
                return await asyncio.gather(*(house.verify(token) for _ in range(times)))

            modelled = self.model.tokens[token]
            answers: list[httpx.Response] = run(all_at_once())
            left = times if modelled.max_uses is None else max(modelled.max_uses - modelled.uses, 0)
            good = 0 if modelled.is_revoked else min(times, left)
            assert sorted(a.status_code for a in answers) == [200] * good + [modelled_after(modelled)] * (times - good)
            modelled.uses += good
            if times > good:
                reason = (modelled.campaign_id, "token_revoked" if modelled.is_revoked else "token_used_up")
                self.model.refused[reason] = self.model.refused.get(reason, 0) + times - good

        @rule(token=tokens)
        def revoke(self, token: str) -> None:
            assert self.call("DELETE", f"/v1/tokens/{token}").status_code == 200
            self.model.tokens[token].is_revoked = True

        @rule(campaign_id=CAMPAIGNS)
        def revoke_campaign(self, campaign_id: str) -> None:
            concerned = [each for each in self.model.tokens.values() if each.campaign_id == campaign_id]
            answer = self.call("DELETE", f"/v1/campaigns/{campaign_id}{self.suffix}/tokens")
            assert answer.status_code == (200 if concerned else 404)
            for modelled in concerned:
                modelled.is_revoked = True

        @rule()
        def flush(self) -> None:
            run(house.tally.flush())

        @invariant()
        def statistics_add_up(self) -> None:
            for campaign_id in {each.campaign_id for each in self.model.tokens.values()}:
                found = self.call("GET", f"/v1/campaigns/{campaign_id}{self.suffix}/stats").json()
                tokens = [each for each in self.model.tokens.values() if each.campaign_id == campaign_id]
                assert found["issued"] == len(tokens)
                assert found["verified"] == sum(each.uses for each in tokens)
                assert found["distinct"] == sum(each.uses > 0 for each in tokens)
                assert found["refused"] == {
                    reason: count for (of, reason), count in self.model.refused.items() if of == campaign_id
                }

    return Campaigns


def modelled_after(modelled: Modelled) -> int:
    return 403 if modelled.is_revoked else 409


@pytest.mark.parametrize("lanes", [1, 2])
def test_any_order_of_uses_and_revocations_is_as_the_model_says(
    make_settings: MakeSettings, register: FakeRegister, campaign: dict[str, str], tenant: str, lanes: int
) -> None:
    with asyncio.Runner() as runner:
        app = create_app(make_settings(lanes=lanes), register=register)
        context = running(app)
        client = runner.run(context.__aenter__())
        try:
            house = House(app, client, campaign, tenant)
            run_state_machine_as_test(
                machine_for(house, runner.run),
                settings=settings(
                    max_examples=12,
                    stateful_step_count=15,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(context.__aexit__(None, None, None))
