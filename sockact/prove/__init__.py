"""Proves what a deploy costs: does a real reload or restart of a service while the probe loads it."""
