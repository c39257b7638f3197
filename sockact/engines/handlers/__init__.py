"""Engines for handlers of raw connections and of datagrams."""
