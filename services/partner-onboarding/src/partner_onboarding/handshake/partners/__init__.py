"""The partner interface: `/user/partner/…`, in the spelling of its source."""
