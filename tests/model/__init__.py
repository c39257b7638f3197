"""Models that are searched: every state that can be reached, whatever happens in whatever order."""
