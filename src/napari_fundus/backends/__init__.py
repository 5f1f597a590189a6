"""One room a method: a detector that registers itself through the same hook as a stranger's."""
