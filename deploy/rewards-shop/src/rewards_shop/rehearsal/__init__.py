"""A stand-in for the platform, to rehearse against: for the shop's tests, and for a vendor's first day without it.

It keeps everything in memory, knows one vendor, and does just what the shop can see of the real one.
"""
