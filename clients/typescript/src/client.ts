// The platform, as one client of it.

import type { JSONWebKeySet } from "jose";
import { Asking, type Options } from "./asking.js";
import { type Entry, type Range, type Reconciliation, reconcile } from "./reconciliation.js";
import { Redemptions } from "./redemptions.js";
import { freshKey } from "./web_crypto.js";
import type {
  Bill,
  Events,
  FoundToken,
  HandshakeCodes,
  IssuedToken,
  PlatformEvent,
  ReceiptAnswer,
  RedeemedHandshake,
  RedeemedToken,
  TokenOrder,
  Transaction,
  Transactions,
  UserEvents,
  VerifiedToken,
  Visit,
} from "./schemas.js";

/** All methods throw Refused where the platform says no, and Unanswered where it says nothing. */
export class Points extends Redemptions {
  readonly #asking: Asking;

  constructor(options: Options) {
    const asking = new Asking(options);
    super(asking);
    this.#asking = asking;
  }

  /**
   * Uses a redirect token up: the claims, and `points_now`. Only the platform knows whether it was used before.
   *
   * @param key yours for this visit, never made of the token: who brings a token again must not get the first answer.
   *   With it you may ask again after a crash. Without one, only the retries of this call repeat.
   */
  redeemToken(token: string, key: string = freshKey()): Promise<RedeemedToken> {
    return this.#asking.granted("POST", "/sso/v1/tokens/redeem", { token }, key);
  }

  /** The receipt of a transaction that has ended, a compact JWS. Keep it. */
  async receipt(orderId: string): Promise<string> {
    const path = `/eai/v1/receipts/${encodeURIComponent(orderId)}`;
    return (await this.#asking.granted<ReceiptAnswer>("GET", path)).receipt;
  }

  /**
   * Where your books and the platform's differ. Nothing is changed, so it may be repeated at any time.
   *
   * @param books is read once, into memory: a million entries take some 80 MB.
   */
  reconcile(books: Iterable<Entry> | AsyncIterable<Entry>, range: Range = {}): Promise<Reconciliation> {
    return reconcile(this.#asking, books, range);
  }

  /** The keys of all receipts of a tenant, old ones too: keep them beside the receipts. */
  receiptKeys(tenant: string): Promise<JSONWebKeySet> {
    const path = `/tenants/${encodeURIComponent(tenant)}/receipts/jwks.json`;
    return this.#asking.granted("GET", path);
  }

  /** Your transactions; filters are `state`, `since`, `updated_since`. */
  async *transactions(filters: Record<string, string> = {}): AsyncGenerator<Transaction> {
    let cursor: string | null = null;
    do {
      const query = new URLSearchParams(cursor === null ? filters : { ...filters, cursor });
      const page: Transactions = await this.#asking.granted("GET", `/eai/v1/points?${query}`);
      yield* page.transactions;
      cursor = page.next_cursor;
    } while (cursor !== null);
  }

  /** The events that are there. Keep the `id` of the last one that you dealt with: it is `after` next time. */
  async *events(topic: string, after?: string): AsyncGenerator<PlatformEvent> {
    let place = after;
    for (;;) {
      const query = new URLSearchParams(place === undefined ? {} : { after: place });
      const page: Events = await this.#asking.granted("GET", `/events/v1/${topic}?${query}`);
      if (page.events.length === 0) return;
      yield* page.events;
      place = page.next_after;
    }
  }

  /** For partners: `registerCode` for the link, `authorizationCode` to compare; an hour, for one use. */
  beginHandshake(): Promise<HandshakeCodes> {
    return this.#asking.granted("GET", "/user/partner/init-register-handshake");
  }

  /**
   * The user's id, from server to server: a partner need not believe what a browser carried.
   *
   * @param key yours for this visit. With it you may ask again after a crash, and get the same answer. Without one,
   *   only the retries of this call do.
   */
  async redeemHandshake(authorizationCode: string, key: string = freshKey()): Promise<string> {
    const path = "/user/partner/redeem-handshake";
    return (await this.#asking.granted<RedeemedHandshake>("POST", path, { authorizationCode }, key)).userId;
  }

  /** Gives the user what the partner pays for; again changes nothing. */
  async activate(userId: string): Promise<void> {
    await this.#asking.granted("GET", `/user/partner/activate-user/${encodeURIComponent(userId)}`);
  }

  /** Ends the link. */
  async remove(userId: string): Promise<void> {
    const path = `/user/partner/remove-user/${encodeURIComponent(userId)}`;
    await this.#asking.granted("DELETE", path, undefined, freshKey());
  }

  /** User id → activations, removals and assigned months. */
  eventList(): Promise<Record<string, UserEvents>> {
    return this.#asking.granted("GET", "/user/partner/event-list");
  }

  /** The month's assignments and their sum; `month` as `2026-11`. */
  billing(month: string): Promise<Bill> {
    return this.#asking.granted("GET", `/user/partner/billing?month=${encodeURIComponent(month)}`);
  }

  /** For campaign back ends: a token and its link; with the same key the same token comes again. */
  issueToken(order: TokenOrder, key: string): Promise<IssuedToken> {
    return this.#asking.granted("POST", "/v1/tokens", order, key);
  }

  /** What is encoded in the token. It is counted, and used up by one: once for each key. */
  verifyToken(token: string, key: string, visit: Visit = {}): Promise<VerifiedToken> {
    return this.#asking.granted("POST", `/v1/tokens/${encodeURIComponent(token)}/verify`, visit, key);
  }

  /** The same without counting. */
  lookAtToken(token: string): Promise<FoundToken> {
    return this.#asking.granted("GET", `/v1/tokens/${encodeURIComponent(token)}`);
  }

  /** From now on the token is refused. */
  async revokeToken(token: string): Promise<void> {
    await this.#asking.granted("DELETE", `/v1/tokens/${encodeURIComponent(token)}`);
  }
}
