"""What serves listeners with an app: an engine starts, stops accepting, gets drained, or is aborted."""
