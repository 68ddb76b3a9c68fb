"""Pages for people, in German and English: how they are rendered, what they say, how they look."""
