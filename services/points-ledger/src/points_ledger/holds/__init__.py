"""Open holds over all vendors: releasing those that have run out."""
