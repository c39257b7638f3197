"""Rules about units: the mistakes in them that cost requests, restarts or safety."""
