"""What happened, for those who want to hear of it: each service hands out its own events and delivers them.

    use case ── one row a batch ──► event_outbox ── sequencer ──► events ──► GET /events/v1/{topic}
                (same transaction)                                  │
                                                                    └── deliveries ──► POST to registered endpoints

- `domain`: what an event is, who sees which, when a delivery is tried again. Neither web nor database.
- `outbox`: a use case records events in the transaction that makes them true.
- `feed`: the sequencer gives events their order; a reader follows it.
- `endpoints`: where a client wants events to be sent, and the secrets that sign them.
- `destinations`: which addresses may be sent to, looked at again before each delivery.
- `deliveries`: sends, tries again, gives up.
- `routes`: `/events/v1/{topic}`, the same in all four services.
"""
