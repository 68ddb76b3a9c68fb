// Points of a user, from the hold to the confirm: one operation each, or a whole order with all that may go wrong.

import { type Answer, type Asking, Unanswered } from "./asking.js";
import type { ChangedTransaction, FoundTransaction, VendorBalance } from "./schemas.js";

/** Where an order stands in your shop. Each is written down before the call that follows from it. */
export type Step =
  /** About to hold the points; nobody knows whether the platform has heard of it. */
  | "placed"
  /** The points are held; whether you can deliver is not decided. */
  | "held"
  /** You can deliver: the points are to be deducted. */
  | "confirming"
  /** You cannot, or nobody waits any more: the points are to be given back. */
  | "rolling_back"
  | "confirmed"
  /** The user has the points back, or they were never held. */
  | "released"
  /** Too few points, or no such user: see `code`. */
  | "refused";

/** One redemption. Its id is the transaction id at the platform, and good for this redemption alone, for ever. */
export interface Order {
  readonly orderId: string;
  readonly userId: string;
  readonly points: number;
  readonly description: string;
  readonly step: Step;
  readonly code?: string;
}

/** Your database. `save` resolves when the order is on disk: then a crash at any instant loses nothing. */
export interface Journal {
  save(order: Order): Promise<void>;
}

const OPEN: ReadonlySet<Step> = new Set<Step>(["placed", "held", "confirming", "rolling_back"]);

export function newOrder(orderId: string, userId: string, points: number, description: string): Order {
  return { orderId, userId, points, description, step: "placed" };
}

export function isOpen(order: Order): boolean {
  return OPEN.has(order.step);
}

/** All operations throw Refused where the platform says no, and Unanswered where it says nothing. */
export class Redemptions {
  readonly #asking: Asking;

  constructor(asking: Asking) {
    this.#asking = asking;
  }

  /** Phase 1: sets the points aside. */
  hold(orderId: string, userId: string, points: number, description: string): Promise<ChangedTransaction> {
    return this.#change("commit", orderId, userId, { pointstodeduct: points, description });
  }

  /** Phase 2: deducts what is held, or a part of it, and releases the rest. */
  confirm(orderId: string, userId: string, points?: number): Promise<ChangedTransaction> {
    return this.#change("confirm", orderId, userId, points === undefined ? {} : { pointstodeduct: points });
  }

  /** Phase 2: gives back what is held. A hold that arrives later is refused. */
  rollBack(orderId: string, userId: string): Promise<ChangedTransaction> {
    return this.#change("rollback", orderId, userId, {});
  }

  /** Gives points back after the confirm; all refunds together never exceed what was deducted. */
  refund(orderId: string, userId: string, refundId: string, points: number): Promise<ChangedTransaction> {
    const body = { userid: userId, transactionid: orderId, refundid: refundId, points };
    return this.#asking.granted("POST", "/eai/v1/points?refund", body, orderId, refundId);
  }

  /** How the transaction stands: what to ask when an answer was lost. */
  lookUp(orderId: string): Promise<FoundTransaction> {
    return this.#asking.granted("GET", pathOf(orderId));
  }

  /** Points that the user may spend at this moment. */
  async balance(userId: string): Promise<number> {
    const path = `/eai/v1/balances/${encodeURIComponent(userId)}`;
    return (await this.#asking.granted<VendorBalance>("GET", path)).available;
  }

  /**
   * Takes an order from its hold to its end.
   *
   * @param canDeliver asked once the points are held. Its answer is written down before the platform hears of it.
   * @returns the order as it ended; if it is still open, the platform is silent: call `resume` later.
   */
  async redeem(order: Order, journal: Journal, canDeliver: (order: Order) => Promise<boolean>): Promise<Order> {
    await journal.save(order);
    return this.#drive(order, journal, canDeliver);
  }

  /**
   * Finishes an open order after a crash or a silence: call it for each at the start, and every minute.
   *
   * Nobody waits for an order whose hold was never decided on, so it is rolled back. A decision that was written down
   * is carried out.
   */
  async resume(order: Order, journal: Journal): Promise<Order> {
    let current = order;
    if (current.step === "placed" || current.step === "held") {
      current = { ...current, step: "rolling_back" };
      await journal.save(current);
    }
    return this.#drive(current, journal, async () => false);
  }

  async #drive(order: Order, journal: Journal, canDeliver: (order: Order) => Promise<boolean>): Promise<Order> {
    let current = order;
    while (isOpen(current)) {
      let next: Order;
      try {
        next = await this.#step(current, canDeliver);
      } catch (error) {
        if (error instanceof Unanswered) return current;
        throw error;
      }
      // The answer settles nothing (401, 403 …): the order stays open until `resume`.
      if (next.step === current.step) return current;
      await journal.save(next);
      current = next;
    }
    return current;
  }

  async #step(order: Order, canDeliver: (order: Order) => Promise<boolean>): Promise<Order> {
    if (order.step === "held") {
      return { ...order, step: (await canDeliver(order)) ? "confirming" : "rolling_back" };
    }
    const operation = order.step === "placed" ? "commit" : order.step === "confirming" ? "confirm" : "rollback";
    const more = operation === "commit" ? { pointstodeduct: order.points, description: order.description } : {};
    try {
      return learnt(order, await this.#ask(operation, order.orderId, order.userId, more), operation);
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error;
      // The state decides, so it is asked for. If that is not answered either, the order stays open.
      return learnt(order, await this.#asking.ask("GET", pathOf(order.orderId)), "look up");
    }
  }

  #ask(operation: string, orderId: string, userId: string, more: object): Promise<Answer> {
    const body = { userid: userId, transactionid: orderId, ...more };
    return this.#asking.ask("POST", `/eai/v1/points?${operation}`, body, orderId);
  }

  #change(operation: string, orderId: string, userId: string, more: object): Promise<ChangedTransaction> {
    const body = { userid: userId, transactionid: orderId, ...more };
    const path = `/eai/v1/points?${operation}`;
    return this.#asking.granted("POST", path, body, orderId);
  }
}

/** What the order has become. Wherever the platform names a state, that decides. */
function learnt(order: Order, answer: Answer, operation: string): Order {
  switch (answer.body["state"]) {
    case "held":
      if (order.step === "placed") return { ...order, step: "held" };
      break;
    case "confirmed":
      return { ...order, step: "confirmed" };
    case "rolled_back":
    case "expired":
    case "cancelled":
      return { ...order, step: "released" };
    case "rejected":
      return { ...order, step: "refused", code: "insufficient_points" };
  }
  const code = answer.body["code"];
  if (operation === "commit" && (code === "insufficient_points" || code === "invalid_user")) {
    return { ...order, step: "refused", code };
  }
  if (code === "transaction_not_found") {
    // A hold that is still on its way is refused when it arrives after a rollback …
    if (operation === "rollback") return { ...order, step: "released" };
    // … and without one it would hold points that nobody waits for.
    if (order.step === "placed") return { ...order, step: "rolling_back" };
  }
  return order;
}

function pathOf(orderId: string): string {
  return `/eai/v1/points/${encodeURIComponent(orderId)}`;
}
