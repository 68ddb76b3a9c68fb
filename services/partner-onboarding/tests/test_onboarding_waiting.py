"""Figures about what waits: mails that are not sent, months that are not assigned."""

from datetime import UTC, datetime, timedelta

from partner_onboarding.clock import database_clock
from partner_onboarding.handshake.tables import links
from partner_onboarding.handshake.watching import WaitingWatch
from partner_onboarding.register.tables import mails
from prometheus_client import REGISTRY
from sqlalchemy import func, update

from .handshake_partner import Partner
from .handshake_people import fill_in
from .mail_post import Post


def figure(name: str) -> float:
    value = REGISTRY.get_sample_value(name)
    assert value is not None
    return value


async def test_the_oldest_of_what_waits_is_told(post: Post) -> None:
    house = post.house
    partner = await Partner.of(house)
    watch = WaitingWatch(house.register.database, database_clock)
    await fill_in(house.http, (await partner.codes())["registerCode"], house.address("greta"))
    await house.user("erika")
    await partner.link("erika", datetime.now(UTC))
    async with house.register.database.transaction() as connection:
        ago = func.now() - timedelta(days=300)
        await connection.execute(update(mails).where(mails.c.tenant == house.tenant).values(created_at=ago))
        due = update(links).where(links.c.tenant == house.tenant).values(next_assignment_at=ago, activated_at=ago)
        await connection.execute(due)
    await watch.look()
    assert figure("onboarding_mails_waiting") >= 1
    assert figure("onboarding_oldest_waiting_mail_seconds") >= timedelta(days=300).total_seconds()
    assert figure("onboarding_oldest_due_month_seconds") >= timedelta(days=300).total_seconds()
    await post.sent()
    async with house.register.database.transaction() as connection:
        done = update(links).where(links.c.tenant == house.tenant).values(next_assignment_at=None)
        await connection.execute(done)
    await watch.look()
    assert figure("onboarding_oldest_waiting_mail_seconds") < timedelta(days=300).total_seconds()
    assert figure("onboarding_oldest_due_month_seconds") < timedelta(days=300).total_seconds()
