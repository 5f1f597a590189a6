"""The one training loop: steps, schedule, freezing, events, state on disk."""
