"""What all pages share: the frame, forms, the language of a request. Knows no house."""
