"""The forms of the log; `log_handlers` has what they mean, and imports more than a setting should."""

FORMATS = ("auto", "plain", "priority", "json")
"""The values of the setting `log_format`."""
