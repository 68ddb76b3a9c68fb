// The token that carries a user to your shop, and the receipts of transactions: both are checked with `jose`.

import {
  createLocalJWKSet,
  decodeProtectedHeader,
  errors,
  importJWK,
  jwtVerify,
  type JSONWebKeySet,
  type JWK,
  type JWTPayload,
  type KeyLike,
} from "jose";
import { publicObject } from "./asking.js";

export const LEEWAY_SECONDS = 30;
const LONGEST_LIFETIME_SECONDS = 300;
/** How long a key set is good; for an unknown `kid` it is fetched again, but not more often than the second number. */
const KEYS_LIVE_MILLISECONDS = 300_000;
const KEYS_REST_MILLISECONDS = 10_000;

/** Do not believe the token. `code` says why, in the platform's words. */
export class TokenRejected extends Error {
  override name = "TokenRejected";

  constructor(readonly code: string) {
    super(code);
  }
}

/** The user whom the platform vouches for. `points` is the balance at the moment of the redirect. */
export interface Visitor {
  readonly userId: string;
  readonly firstname: string;
  readonly lastname: string;
  readonly email: string;
  readonly points: number;
  readonly claims: JWTPayload;
}

export interface Agreement {
  /** The tenant authority, as `iss` names it. */
  readonly issuer: string;
  /** What was agreed; without another agreement your vendor id. */
  readonly audience: string;
  readonly algorithm: "RS256" | "ES256" | "HS256";
  /** Of the platform; not with HS256. */
  readonly jwksUri?: string;
  /** With HS256, the secret's text. */
  readonly hs256Secret?: string;
  /** For tests and proxies. */
  readonly fetch?: typeof fetch;
}

/** Judges tokens of one agreement. Keep it: it remembers the key set. */
export class TokenVerifier {
  readonly #agreement: Agreement;
  readonly #key: Uint8Array | PlatformKeys;

  constructor(agreement: Agreement) {
    const { algorithm, hs256Secret, jwksUri } = agreement;
    this.#agreement = agreement;
    if (algorithm === "HS256") {
      if (hs256Secret === undefined) throw new TypeError("HS256 needs its secret");
      this.#key = new TextEncoder().encode(hs256Secret);
    } else {
      if (jwksUri === undefined || hs256Secret !== undefined) throw new TypeError(`${algorithm} needs jwksUri alone`);
      this.#key = new PlatformKeys(jwksUri, agreement.fetch);
    }
  }

  /**
   * The visitor. It does not use the token up: that is `redeemToken`.
   *
   * @throws TokenRejected forged, expired, or meant for somebody else.
   * @throws Unanswered the keys cannot be fetched, so nobody can say.
   */
  async verify(token: string): Promise<Visitor> {
    const { issuer, audience, algorithm } = this.#agreement;
    let claims: JWTPayload;
    try {
      const { alg, kid, typ } = decodeProtectedHeader(token);
      // The agreement says which algorithm is used. A token that asks for another one is a forgery.
      if (alg !== algorithm) throw new TokenRejected("invalid_signature");
      if (typ !== "JWT") throw new TokenRejected("wrong_type");
      const key = this.#key instanceof PlatformKeys ? await this.#key.find(kid, algorithm) : this.#key;
      if (key === undefined) throw new TokenRejected("invalid_signature");
      const options = {
        issuer,
        audience,
        algorithms: [algorithm],
        clockTolerance: LEEWAY_SECONDS,
        requiredClaims: ["iat", "exp", "jti"],
      };
      ({ payload: claims } = await jwtVerify(token, key, options));
    } catch (error) {
      throw rejection(error);
    }
    return visitorOf(claims);
  }
}

/** The key set of the platform, remembered. */
class PlatformKeys {
  readonly #address: string;
  readonly #fetch: typeof fetch | undefined;
  #keys = new Map<string, JWK>();
  #fetchedAt = -Infinity;
  #fetching: Promise<void> | undefined;

  constructor(address: string, ask: typeof fetch | undefined) {
    this.#address = address;
    this.#fetch = ask;
  }

  /** The key with exactly this id, if it is one of this algorithm. @throws Unanswered, Refused */
  async find(kid: string | undefined, algorithm: string): Promise<KeyLike | Uint8Array | undefined> {
    if (kid === undefined) return undefined;
    const age = performance.now() - this.#fetchedAt;
    if (age > KEYS_LIVE_MILLISECONDS || (!this.#keys.has(kid) && age > KEYS_REST_MILLISECONDS)) {
      // Once for all who wait.
      this.#fetching ??= this.#fetchAll().finally(() => (this.#fetching = undefined));
      await this.#fetching;
    }
    const key = this.#keys.get(kid);
    return key?.alg === algorithm ? importJWK(key, algorithm) : undefined;
  }

  async #fetchAll(): Promise<void> {
    const { keys } = await publicObject(this.#address, this.#fetch === undefined ? {} : { fetch: this.#fetch });
    const found = Array.isArray(keys) ? (keys as JWK[]) : [];
    this.#keys = new Map(found.flatMap((key) => (typeof key?.kid === "string" ? [[key.kid, key]] : [])));
    this.#fetchedAt = performance.now();
  }
}

/** The claims of a receipt that is genuine. Needs no network. @throws TokenRejected */
export async function checkReceipt(
  receipt: string,
  keys: JSONWebKeySet,
  expected: { readonly vendorId: string; readonly issuer?: string },
): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(receipt, createLocalJWKSet(keys), {
      typ: "receipt+jwt",
      algorithms: ["ES256"],
      audience: expected.vendorId,
      requiredClaims: ["iss", "iat", "jti"],
      ...(expected.issuer === undefined ? {} : { issuer: expected.issuer }),
    });
    return payload;
  } catch (error) {
    throw rejection(error);
  }
}

function rejection(error: unknown): unknown {
  if (error instanceof TokenRejected) return error;
  if (error instanceof errors.JWTExpired) return new TokenRejected("token_expired");
  if (error instanceof errors.JWTClaimValidationFailed) {
    const codes: Record<string, string> = {
      aud: "wrong_audience",
      iss: "wrong_issuer",
      typ: "wrong_type",
      iat: "token_not_yet_valid",
      nbf: "token_not_yet_valid",
    };
    return new TokenRejected(codes[error.claim] ?? "malformed_token");
  }
  if (error instanceof errors.JWTInvalid || error instanceof errors.JWSInvalid) {
    return new TokenRejected("malformed_token");
  }
  if (error instanceof errors.JOSEError) return new TokenRejected("invalid_signature");
  if (error instanceof TypeError && error.message.includes("Protected Header")) {
    return new TokenRejected("malformed_token");
  }
  return error;
}

function visitorOf(claims: JWTPayload): Visitor {
  const { iat, exp, points } = claims;
  if (iat === undefined || exp === undefined || exp <= iat || exp - iat > LONGEST_LIFETIME_SECONDS) {
    throw new TokenRejected("malformed_token");
  }
  if (typeof points !== "number" || !Number.isInteger(points)) throw new TokenRejected("malformed_token");
  // Claims are spelled in lower or in camel case, as was agreed.
  const text = (...spellings: string[]): string => {
    for (const spelling of spellings) {
      const value = claims[spelling];
      if (typeof value === "string") return value;
    }
    throw new TokenRejected("malformed_token");
  };
  return {
    userId: text("userid", "userId"),
    firstname: text("firstname", "firstName"),
    lastname: text("lastname", "lastName"),
    email: text("email"),
    points,
    claims,
  };
}
