"""Handlers of raw connections and datagrams."""
