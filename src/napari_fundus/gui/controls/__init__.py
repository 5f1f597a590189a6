"""Controls that several widgets share."""
