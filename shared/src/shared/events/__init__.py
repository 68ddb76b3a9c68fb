"""Events: each service hands out its own and delivers them to endpoints.

    use case ── one row an owner ──► event_batches ◄── the sequencer gives numbers
                (same transaction)        │
                                          ├──► GET /events/v1/{topic}
                                          └──► deliveries ──► POST to registered endpoints

- `domain`: events, their readers, and the pauses between attempts. Neither web nor database.
- `outbox`: a use case records events in its own transaction.
- `tables`, `migration`: the events of a transaction stay in the row that they were recorded in. To copy each to a row
  of its own, with its indexes, took the ledger a fifth of a command.
- `feed`: the sequencer gives events their order; a reader follows it.
- `endpoints`: a client's addresses for events, and the secrets that sign them.
- `destinations`: the allowed addresses, checked again before each delivery.
- `deliveries`: sends, retries, gives up.
- `watching`: figures of endpoints. `command_line`: the same use cases for operators.
- `routes`: `/events/v1/{topic}`, the same in all four services.
"""
