"""Links of people to partners: made by a handshake, activated and removed by the partner, or undone by the person."""
