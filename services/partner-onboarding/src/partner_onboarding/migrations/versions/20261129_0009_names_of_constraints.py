"""Constraints are called as in all services: table, columns or rule, kind."""

from alembic import op

revision = "20261129_0009"
down_revision = "20261129_0008"
branch_labels = None
depends_on = None

#: table → former name → present name
_RENAMED = {
    "agreements": {
        "ck_agreements_document": "agreements_document_check",
        "ck_agreements_version": "agreements_version_check",
        "fk_agreements_users": "agreements_tenant_user_id_fkey",
        "pk_agreements": "agreements_pkey",
    },
    "assignments": {
        "ck_assignments_month": "assignments_month_check",
        "ck_assignments_months": "assignments_months_check",
        "fk_assignments_links": "assignments_tenant_client_id_user_id_n_fkey",
        "pk_assignments": "assignments_pkey",
    },
    "audit_entries": {
        "ck_audit_entries_action": "audit_entries_action_check",
        "ck_audit_entries_actor_kind": "audit_entries_actor_kind_check",
        "fk_audit_entries_tenants": "audit_entries_tenant_fkey",
        "pk_audit_entries": "audit_entries_pkey",
    },
    "authorization_codes": {
        "ck_authorization_codes_code_challenge": "authorization_codes_code_challenge_check",
        "ck_authorization_codes_code_hash": "authorization_codes_code_hash_check",
        "fk_authorization_codes_consents": "authorization_codes_tenant_client_id_consent_version_fkey",
        "pk_authorization_codes": "authorization_codes_pkey",
    },
    "client_secrets": {
        "ck_client_secrets_hash": "client_secrets_hash_check",
        "ck_client_secrets_n": "client_secrets_n_check",
        "ck_client_secrets_salt": "client_secrets_salt_check",
        "fk_client_secrets_clients": "client_secrets_tenant_client_id_fkey",
        "pk_client_secrets": "client_secrets_pkey",
    },
    "clients": {
        "ck_clients_client_id": "clients_client_id_check",
        "ck_clients_kind": "clients_kind_check",
        "ck_clients_name": "clients_name_check",
        "ck_clients_scopes_of_third_party": "clients_scopes_of_third_party_check",
        "ck_clients_vendor_id": "clients_vendor_id_check",
        "fk_clients_tenants": "clients_tenant_fkey",
        "pk_clients": "clients_pkey",
        "uq_clients_client_id": "clients_client_id_key",
    },
    "consents": {
        "ck_consents_actor_kind": "consents_actor_kind_check",
        "ck_consents_event": "consents_event_check",
        "ck_consents_scopes": "consents_scopes_check",
        "ck_consents_subject": "consents_subject_check",
        "ck_consents_version": "consents_version_check",
        "fk_consents_clients": "consents_tenant_client_id_fkey",
        "pk_consents": "consents_pkey",
    },
    "handshakes": {
        "ck_handshakes_authorization_hash": "handshakes_authorization_hash_check",
        "ck_handshakes_ended_at": "handshakes_ended_at_check",
        "ck_handshakes_expires_at": "handshakes_expires_at_check",
        "ck_handshakes_hint": "handshakes_hint_check",
        "ck_handshakes_outcome": "handshakes_outcome_check",
        "ck_handshakes_redeemed_at": "handshakes_redeemed_at_check",
        "ck_handshakes_register_hash": "handshakes_register_hash_check",
        "ck_handshakes_user_id": "handshakes_user_id_check",
        "fk_handshakes_clients": "handshakes_tenant_client_id_fkey",
        "pk_handshakes": "handshakes_pkey",
    },
    "idempotent_answers": {
        "pk_idempotent_answers": "idempotent_answers_pkey",
    },
    "integration_requests": {
        "ck_integration_requests_asks_for_something": "integration_requests_asks_for_something_check",
        "ck_integration_requests_client_id": "integration_requests_client_id_check",
        "ck_integration_requests_decided": "integration_requests_decided_check",
        "ck_integration_requests_reason": "integration_requests_reason_check",
        "ck_integration_requests_state": "integration_requests_state_check",
        "fk_integration_requests_clients": "integration_requests_tenant_client_id_fkey",
        "fk_integration_requests_tenants": "integration_requests_tenant_fkey",
        "pk_integration_requests": "integration_requests_pkey",
    },
    "links": {
        "ck_links_months_assigned": "links_months_assigned_check",
        "ck_links_n": "links_n_check",
        "ck_links_next_assignment_at": "links_next_assignment_at_check",
        "ck_links_removed_by": "links_removed_by_check",
        "ck_links_removed_by_whom": "links_removed_by_whom_check",
        "fk_links_clients": "links_tenant_client_id_fkey",
        "pk_links": "links_pkey",
    },
    "mails": {
        "ck_mails_attempts": "mails_attempts_check",
        "ck_mails_token_hash": "mails_token_hash_check",
        "fk_mails_users": "mails_tenant_user_id_fkey",
        "pk_mails": "mails_pkey",
    },
    "recovery_codes": {
        "ck_recovery_codes_code_hash": "recovery_codes_code_hash_check",
        "fk_recovery_codes_second_factors": "recovery_codes_tenant_user_id_fkey",
        "pk_recovery_codes": "recovery_codes_pkey",
    },
    "second_factors": {
        "ck_second_factors_last_step": "second_factors_last_step_check",
        "fk_second_factors_users": "second_factors_tenant_user_id_fkey",
        "pk_second_factors": "second_factors_pkey",
    },
    "sessions": {
        "ck_sessions_awaits": "sessions_awaits_check",
        "ck_sessions_expires_at": "sessions_expires_at_check",
        "ck_sessions_session_hash": "sessions_session_hash_check",
        "fk_sessions_users": "sessions_tenant_user_id_fkey",
        "pk_sessions": "sessions_pkey",
    },
    "tenants": {
        "ck_tenants_name": "tenants_name_check",
        "ck_tenants_tenant": "tenants_tenant_check",
        "pk_tenants": "tenants_pkey",
    },
    "users": {
        "ck_users_email_hash": "users_email_hash_check",
        "ck_users_password_hash": "users_password_hash_check",
        "ck_users_roles": "users_roles_check",
        "ck_users_user_id": "users_user_id_check",
        "fk_users_tenants": "users_tenant_fkey",
        "pk_users": "users_pkey",
    },
}


def upgrade() -> None:
    for table, names in _RENAMED.items():
        for former, present in names.items():
            op.execute(f"ALTER TABLE partner_onboarding.{table} RENAME CONSTRAINT {former} TO {present}")


def downgrade() -> None:
    for table, names in _RENAMED.items():
        for former, present in names.items():
            op.execute(f"ALTER TABLE partner_onboarding.{table} RENAME CONSTRAINT {present} TO {former}")
