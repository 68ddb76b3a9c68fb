"""What a partner is billed for: a month for each person that the partner has activated, once."""
