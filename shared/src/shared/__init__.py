"""What the four services really share: the frame of a service, never a rule of one of them."""
