"""Connections that outlive their process."""
