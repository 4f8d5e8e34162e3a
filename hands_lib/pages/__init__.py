"""The Sphinx side of the book: what turns executed chapters into pages that need no other host."""
