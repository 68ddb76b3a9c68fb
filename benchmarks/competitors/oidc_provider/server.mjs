// npm's oidc-provider with its adapter in memory: JWT access tokens by client_credentials, ES256 and RS256 by resource.
// Arguments: port, client id, client secret.
import { generateKeyPairSync } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [port, clientId, clientSecret] = process.argv.slice(2);
const installed = createRequire(`${process.cwd()}/`);
const { Provider } = await import(pathToFileURL(installed.resolve("oidc-provider")).href);

const jwk = (type, options, alg) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }),
  alg,
  kid: alg,
  use: "sig",
});

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: clientId,
      client_secret: clientSecret,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
  ],
  jwks: {
    keys: [jwk("ec", { namedCurve: "P-256" }, "ES256"), jwk("rsa", { modulusLength: 2048 }, "RS256")],
  },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_context, resource) => ({
        scope: "points:read points:admin sso:issue sso:admin users:read users:write",
        audience: "http://localhost:8000",
        accessTokenTTL: 600,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: resource.endsWith("RS256") ? "RS256" : "ES256" } },
      }),
    },
  },
});
provider.listen(Number(port), "127.0.0.1");
