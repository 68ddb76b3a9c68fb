"""The hosted landing page, for customers without a back end: an offer, a button, and on to the campaign's site."""
