"""Whatever changes something leaves a line in the audit: every route and every command has its row here."""

import ast
from importlib import resources
from typing import get_args

import pytest
from partner_onboarding.__main__ import cli
from partner_onboarding.register.acts import ForeignAction
from partner_onboarding.register.audit.domain import Action
from platform_testing.access import routes_of
from typer.main import get_command

from .integration_partner import audit
from .onboarding_house import House, Shell

#: What each changing route writes down. GETs that change something are the source's.
WRITTEN: dict[tuple[str, str], set[str]] = {
    ("POST", "/v1/clients"): {"client_registered", "client_disabled"},
    ("POST", "/v1/clients/self/secrets"): {"secret_added"},
    ("POST", "/v1/clients/{client_id}/secrets"): {"secret_added"},
    ("DELETE", "/v1/clients/{client_id}/secrets/{n}"): {"secret_revoked"},
    ("DELETE", "/v1/clients/{client_id}"): {"client_disabled"},
    ("PUT", "/v1/users/{user_id}"): {"user_created", "user_changed"},
    ("POST", "/v1/sandbox/clock"): {"sandbox_clock_moved"},
    ("POST", "/v1/sandbox/reset"): {"sandbox_begun_anew"},
    ("POST", "/user/partner/redeem-handshake"): {"handshake_redeemed"},
    ("GET", "/user/partner/activate-user/{userId}"): {"user_activated"},
    ("POST", "/user/partner/activate-user/{userId}"): {"user_activated"},
    ("DELETE", "/user/partner/remove-user/{userId}"): {"link_removed"},
    ("POST", "/v1/integration-requests"): {"request_submitted"},
    ("POST", "/v1/integration-requests/{request_id}/approve"): {"request_approved", "client_registered"},
    ("POST", "/v1/integration-requests/{request_id}/decline"): {"request_declined"},
    ("DELETE", "/v1/consents/{client_id}"): {"consent_withdrawn"},
    ("POST", "/internal/authorization-codes/redeem"): {"code_redeemed", "code_replayed"},
    ("POST", "/internal/tenants/{tenant}/acts"): set(get_args(ForeignAction)),
    ("POST", "/login"): {"signed_in", "sign_in_failed"},
    ("POST", "/login/code"): {"signed_in", "sign_in_failed"},
    ("POST", "/login/second-factor"): {"second_factor_added"},
    ("POST", "/logout"): {"signed_out"},
    **{
        ("POST", path): {"user_registered", "signed_in", "link_created", "link_denied"}
        for path in ("/registrieren/", "/registrieren", "/register/", "/register")
    },
    ("POST", "/register/confirm/{tenant}/{token}"): {"email_confirmed"},
    ("POST", "/account/unlink"): {"link_removed"},
    ("POST", "/account/profile"): {"user_changed"},
    ("POST", "/account/email"): {"user_changed"},
    ("POST", "/account/password"): {"password_changed"},
    ("POST", "/password/reset"): {"password_reset"},
    ("POST", "/account/sessions/end-others"): {"sessions_ended"},
    ("POST", "/account/delete"): {"user_deleted", "link_removed"},
    ("POST", "/account/second-factor"): {"second_factor_added"},
    ("POST", "/account/second-factor/codes"): {"recovery_codes_renewed"},
    ("POST", "/account/second-factor/remove"): {"second_factor_removed"},
    ("POST", "/integrations/apply"): {"request_submitted"},
    ("POST", "/developers/test-client"): {"client_registered", "client_disabled"},
    ("POST", "/operations/requests/{request_id}/approve"): {"request_approved", "client_registered"},
    ("POST", "/operations/requests/{request_id}/decline"): {"request_declined"},
    ("POST", "/operations/clients/{client_id}/edit"): {"client_changed"},
    ("POST", "/operations/new-client"): {"client_registered", "client_disabled"},
    ("POST", "/operations/clients/{client_id}/secrets"): {"secret_added"},
    ("POST", "/operations/clients/{client_id}/secrets/{n}/end"): {"secret_revoked"},
    ("POST", "/operations/clients/{client_id}/disable"): {"client_disabled"},
    ("POST", "/operations/people/revoke-role"): {"role_revoked"},
    ("POST", "/operations/people/disable"): {"user_disabled"},
    ("POST", "/operations/people/enable"): {"user_enabled"},
    ("POST", "/operations/people/end-sessions"): {"sessions_ended"},
    ("POST", "/setup/{client_id}"): {
        *("consent_granted", "consent_extended", "consent_redesignated", "consent_refused"),
    },
    ("POST", "/consents/{client_id}/designated-user"): {"consent_redesignated"},
    ("POST", "/consents/{client_id}/withdraw"): {"consent_withdrawn"},
}
#: Why the others leave no line.
NOT_WRITTEN = {
    ("POST", "/user/partner/init-register-handshake"): "gives out codes that do nothing by themselves, by the thousand",
    ("POST", "/internal/clients/check"): "asks",
    ("POST", "/internal/clients/check-many"): "asks",
    ("POST", "/internal/clients/find-many"): "asks",
    ("POST", "/internal/consents/find-many"): "asks",
    ("POST", "/internal/sessions/check-many"): "asks",
    ("POST", "/internal/sessions/check"): "asks",
    ("POST", "/internal/tenants/{tenant}/profiles"): "asks",
    ("POST", "/password/forgotten"): "mails a link, and shall tell nobody whether there is an account",
    ("POST", "/account/confirmation"): "mails the link once more",
    ("POST", "/account/second-factor/begin"): "shows a secret that does not count before its first code",
    ("POST", "/operations/handovers/{handover_id}/done"): "hides a secret that was shown",
}
COMMANDS: dict[str, set[str]] = {
    "create-tenant": {"tenant_created", "user_created"},
    "create-client": {"client_registered", "client_disabled"},
    "create-user": {"user_created"},
    "rotate-secret": {"secret_added"},
    "revoke-secret": {"secret_revoked"},
    "disable-client": {"client_disabled"},
    "revoke-role": {"role_revoked"},
    "disable-user": {"user_disabled"},
    "enable-user": {"user_enabled"},
    "end-sessions": {"sessions_ended"},
    "erase-user": {"user_deleted", "link_removed"},
    "repeat-erasures": {"user_deleted", "link_removed"},
    "reset-second-factor": {"second_factor_removed"},
    "approve-request": {"request_approved", "client_registered"},
    "decline-request": {"request_declined"},
}
#: Acts that change no record of a user, a client, a partner or a consent.
WITHOUT_CHANGE = {
    "signed_in": "begins a session",
    "sign_in_failed": "begins none",
    "signed_out": "ends the person's own session",
    "consent_refused": "leaves an earlier consent as it is",
    "code_redeemed": "uses a code up",
    "code_replayed": "is refused",
    "link_denied": "makes no link",
    "handshake_redeemed": "uses a code up",
}
#: `reseal` changes under which key things lie, and nothing that anybody reads.
ONLY_READ = {
    "list-clients",
    "list-users",
    "list-requests",
    "list-erasures",
    "serve",
    "migrate",
    "distribute",
    "verify",
    "reseal",
}


def written_by_the_code() -> set[str]:
    """Every action that stands as a word in the code beside the list of actions itself."""
    with resources.as_file(resources.files("partner_onboarding")) as package:
        sources = [file for file in package.rglob("*.py") if file != package / "register/audit/domain.py"]
        words = {
            node.value
            for file in sources
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    return words & set(get_args(Action))


def _calls_that_write() -> list[ast.Call]:
    with resources.as_file(resources.files("partner_onboarding")) as package:
        return [
            node
            for file in package.rglob("*.py")
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "audit_store.add"
        ]


def test_every_change_is_written_with_what_was_before_and_after() -> None:
    calls = _calls_that_write()
    for call in calls:
        action = ast.unparse(call.args[3]).strip("'")
        has_change = any(keyword.arg == "change" for keyword in call.keywords)
        assert has_change is (action not in WITHOUT_CHANGE), ast.unparse(call)
    assert len(calls) > 25


def test_every_route_that_changes_something_has_its_line(house: House) -> None:
    changing = {
        (method, path)
        for method, path in routes_of(house.app)
        # What clients are sent of events is theirs: endpoints and deliveries are kept in tables of their own.
        if (method != "GET" or (method, path) in WRITTEN) and not path.startswith("/events/")
    }
    assert changing == set(WRITTEN) | set(NOT_WRITTEN)
    assert not set(WRITTEN) & set(NOT_WRITTEN)


def test_every_command_that_changes_something_has_its_line() -> None:
    commands = set(getattr(get_command(cli), "commands"))  # noqa: B009 — the library does not type it
    # What clients are sent of events is kept in tables of its own, as for the routes.
    assert commands - {"events"} == set(COMMANDS) | ONLY_READ


def test_every_action_is_written_somewhere_and_stands_in_the_tables() -> None:
    told = set().union(*WRITTEN.values(), *COMMANDS.values())
    assert told == set(get_args(Action))
    assert written_by_the_code() == set(get_args(Action))


@pytest.mark.parametrize(
    ("arguments", "action"),
    [
        (("disable-user", "erika", "--tenant"), "user_disabled"),
        (("end-sessions", "erika", "--tenant"), "sessions_ended"),
        (("revoke-role", "erika", "--role", "operator", "--tenant"), "role_revoked"),
    ],
)
async def test_a_command_is_told_of_as_the_shells(
    house: House, shell: Shell, arguments: tuple[str, ...], action: str
) -> None:
    await house.user("erika", roles=["operator"])
    assert (await shell(*arguments, house.tenant)).exit_code == 0
    assert ("shell:", action, "erika") in await audit(house)
