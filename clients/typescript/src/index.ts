export { Refused, Unanswered, type Options } from "./asking.js";
export { Points } from "./client.js";
export type { Entry, Finding, Range, Reconciliation, Side } from "./reconciliation.js";
export { isOpen, newOrder, type Journal, type Order, type Step } from "./redemptions.js";
export type {
  Bill,
  ChangedTransaction,
  FoundToken,
  FoundTransaction,
  HandshakeCodes,
  IssuedToken,
  PlatformEvent,
  RedeemedToken,
  TokenOrder,
  Transaction,
  TransactionState,
  UserEvents,
  VerifiedToken,
  Visit,
} from "./schemas.js";
export { checkReceipt, LEEWAY_SECONDS, TokenRejected, TokenVerifier, type Agreement, type Visitor } from "./tokens.js";
export { checkWebhook, WebhookRejected } from "./webhooks.js";
