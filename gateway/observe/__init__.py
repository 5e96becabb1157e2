"""What operators read: structured logs with people masked, and metrics."""
