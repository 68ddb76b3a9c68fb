"""The hosted landing page, for customers without a back end: an offer and a button to the campaign's site."""
