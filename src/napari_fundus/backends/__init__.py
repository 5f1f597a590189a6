"""One room a method: each holds a detector and registers it through the same hook as a stranger's."""
