#!/bin/sh
# Run once by the image of PostgreSQL, when its directory is new: a role and a database for each service, which nobody
# but that service may enter. The passwords are files beside the superuser's; psql reads them itself, so that no list
# of processes shows them.
set -eu

for service in points_ledger sso_issuer partner_onboarding token_service; do
    psql --username="${POSTGRES_USER:-postgres}" --dbname=postgres --no-psqlrc --quiet --set=ON_ERROR_STOP=1 <<SQL
\set password \`cat /run/secrets/${service}_password\`
CREATE ROLE ${service} LOGIN PASSWORD :'password';
CREATE DATABASE ${service} OWNER ${service};
REVOKE ALL ON DATABASE ${service} FROM PUBLIC;
SQL
done
