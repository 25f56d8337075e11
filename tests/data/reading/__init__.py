"""Reading what people have on disk."""
