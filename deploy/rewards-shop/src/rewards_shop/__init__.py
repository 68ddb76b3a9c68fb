"""A rewards shop that takes points: the reference of a well-behaved vendor."""
