"""One package a method: each registers its detector through the same hook as third parties do."""
