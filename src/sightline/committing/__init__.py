"""From posts to lines of the journal, once a step."""
