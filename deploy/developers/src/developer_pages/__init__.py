"""The pages for developers, made from `docs/developers` and the code; they need no server but the gateway."""
