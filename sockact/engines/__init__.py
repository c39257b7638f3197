"""Engines serve an app on listeners: each one starts, stops accepting, drains or is aborted, and closes."""
