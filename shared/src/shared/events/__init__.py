"""Events: each service hands out its own and delivers them to endpoints.

    use case ── one row a batch ──► event_outbox ── sequencer ──► events ──► GET /events/v1/{topic}
                (same transaction)                                  │
                                                                    └── deliveries ──► POST to registered endpoints

- `domain`: events, their readers, and the pauses between attempts. Neither web nor database.
- `outbox`: a use case records events in its own transaction.
- `feed`: the sequencer gives events their order; a reader follows it.
- `endpoints`: a client's addresses for events, and the secrets that sign them.
- `destinations`: the allowed addresses, checked again before each delivery.
- `deliveries`: sends, retries, gives up.
- `routes`: `/events/v1/{topic}`, the same in all four services.
"""
