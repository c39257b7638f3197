"""Settings: their declaration, their text, and where their values come from."""
