#!/bin/sh
# Run once by the image of PostgreSQL, when its directory is new: for each service a database that nobody else may enter,
# a role that owns it and migrates, and a role that serves. The passwords are files beside the superuser's; psql reads
# them itself, so that no list of processes shows them.
set -eu

for service in points_ledger sso_issuer partner_onboarding token_service; do
    psql --username="${POSTGRES_USER:-postgres}" --dbname=postgres --no-psqlrc --quiet --set=ON_ERROR_STOP=1 <<SQL
\set password \`cat /run/secrets/${service}_password\`
\set owner_password \`cat /run/secrets/${service}_owner_password\`
CREATE ROLE ${service} LOGIN PASSWORD :'password';
CREATE ROLE ${service}_owner LOGIN PASSWORD :'owner_password';
CREATE DATABASE ${service} OWNER ${service}_owner;
REVOKE ALL ON DATABASE ${service} FROM PUBLIC;
GRANT CONNECT ON DATABASE ${service} TO ${service};
SQL
done
