"""Notices: what a person is told by mail. Written down here with what they are about; the mails go out later."""
