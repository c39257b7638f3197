"""The loads under which a service must lose nothing."""

ALL_KINDS = (
    "one-shot:4@20",
    "pause:2@2,pause=0.2",
    "persistent:4@10",
    "persistent:1@300",
    "slow:2@0.4,seconds=2",
    "upload:2@0.5,seconds=1.5",
    "stream:2@0.4",
    "websocket:2@5",
)
"""The clients of the tests: none of them ever repeats a request."""
