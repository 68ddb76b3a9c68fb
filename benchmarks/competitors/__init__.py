"""What the services are measured against: routes that do nothing, and the same API as tutorials write it."""
