"""Another password for a person who forgot the present one: by a link in a mail."""
