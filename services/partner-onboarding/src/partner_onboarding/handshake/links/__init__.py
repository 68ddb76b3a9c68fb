"""Links of people to partners: a handshake makes them, the partner activates and removes them, the person may remove
them."""
