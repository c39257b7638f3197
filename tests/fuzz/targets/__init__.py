"""One module for each thing that is fuzzed; see `tests.fuzz`."""
