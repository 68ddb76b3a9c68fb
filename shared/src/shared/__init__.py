"""The code that all four services share: the frame of a service, but no rule of any one of them."""
