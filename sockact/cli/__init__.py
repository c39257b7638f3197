"""The command `sockact`."""
