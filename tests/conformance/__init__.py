"""Programs of other people against the HTTP engine; `page` writes docs/conformance.md."""
