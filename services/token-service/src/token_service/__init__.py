"""token-service: unique, verifiable campaign tokens, each one AES block, with exact uses and statistics."""
