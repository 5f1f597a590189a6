"""What a detector finds: maps, labels, objects, tables, and edits of them."""
