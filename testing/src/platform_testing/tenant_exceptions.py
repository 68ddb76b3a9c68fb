"""Which statements may do what no other may where the tables are distributed by tenant, and why.

They are named by the function that sends them, `module:function`.
"""

from typing import Final

#: Small tables that every server has, since they are looked up without a tenant.
FOR_ALL_TENANTS: Final = frozenset(
    {"partner_onboarding.tenants", "partner_onboarding.clients", "partner_onboarding.client_secrets"}
)

_CHORE: Final = "a chore: no request waits for it"
_FIGURE: Final = "a figure of all tenants, for operators"
_COMMAND: Final = "an operator's command"
_AT_START: Final = "once, when the service starts"
_KEYS: Final = "a process keeps the keys of all tenants in memory, and asks for changes now and then"

#: They concern several tenants, and every server is asked.
ACROSS_TENANTS: Final = {
    "partner_onboarding.handshake.account.erasures_store:read_since": _COMMAND,
    "partner_onboarding.handshake.account.erasures_store:take_due": _CHORE,
    "partner_onboarding.handshake.handshakes.store:delete_before": _CHORE,
    "partner_onboarding.handshake.handshakes.store:tenant_of": "a code without a tenant is made up, or old",
    "partner_onboarding.handshake.links.store:oldest_due": _FIGURE,
    "partner_onboarding.handshake.links.store:tenants_with_due": _CHORE,
    "partner_onboarding.handshake.mail.store:due_mails": _CHORE,
    "partner_onboarding.handshake.mail.store:waiting": _FIGURE,
    "partner_onboarding.register.sessions.store:delete_ended": _CHORE,
    "partner_onboarding.register.users.store:users_with_email": "who signs in brings an address, and no tenant",
    "partner_onboarding.third_parties.consents.store:delete_old_codes": _CHORE,
    "points_ledger.holds.queries:expired_holds": _CHORE,
    "points_ledger.holds.queries:held_shares": _FIGURE,
    "points_ledger.holds.queries:open_holds": _FIGURE,
    "points_ledger.holds.queries:vendors_with_open_holds": _CHORE,
    "points_ledger.verifying:_next_slice": _COMMAND,
    "points_ledger.verifying:verify": _COMMAND,
    "shared.acts:Acts.tell_due": _CHORE,
    "shared.brief_notes:BriefNotes.forget_old": _CHORE,
    "shared.events.deliveries:Deliveries.forget_old": _CHORE,
    "shared.events.deliveries:Deliveries.spread": _CHORE,
    "shared.events.dispatching:Dispatcher._endpoints_with_due": _CHORE,
    "shared.events.feed:Feed.forget_old": _CHORE,
    "shared.events.feed:Feed.number_recorded": _CHORE,
    "shared.events.watching:EndpointsWatch.look": _FIGURE,
    "shared.idempotency:Answers.forget_old": _CHORE,
    "shared.indexes:_is_empty": _COMMAND,
    "shared.resealing:_reseal_column": _COMMAND,
    "shared.resealing:reseal": _COMMAND,
    "shared.retention:forgetting.<locals>.forget": _CHORE,
    "shared.sandboxes.service:Sandboxes.every": _CHORE,
    "shared.sandboxes.service:Sandboxes.refuse_to_start": _AT_START,
    "shared.sealed_columns:KeysCheck._try": _AT_START,
    "shared.seals.store:lengths_of": _COMMAND,
    "shared.tenant_walk:TenantWalk._walk": _CHORE,
    "sso_issuer.authority.store:forget_expired": _CHORE,
    "sso_issuer.keys.store:find_due": _CHORE,
    "sso_issuer.keys.store:list_keys": _COMMAND,
    "sso_issuer.keys.store:read_greatest_ages": _FIGURE,
    "sso_issuer.keys.store:read_published": "the key set of all tenants, which a process keeps for some seconds",
    "sso_issuer.keys.store:read_revoked": _KEYS,
    "token_service.campaigns.store:tenants_with_landing": "a process keeps them, and asks for changes now and then",
    "token_service.keys.store:read_clock_and_all": _KEYS,
    "token_service.keys.store:tenants_changed_within": _KEYS,
    "token_service.tokens.purging:purge": _CHORE,
}
