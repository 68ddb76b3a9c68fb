"""For rewards vendors: the EAI interface of the source document, two-phase commit with rollback."""
