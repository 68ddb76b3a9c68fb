"""Imports: a customer's target list streamed in, the same rows with tokens and links streamed out."""
