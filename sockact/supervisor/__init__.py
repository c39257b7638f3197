"""The process that keeps workers."""
