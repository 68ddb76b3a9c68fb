"""Pages for people: plain HTML that works without JavaScript, in German and English."""
