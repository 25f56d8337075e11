"""What the folder of a model, or of an adapter, says of itself. No torch."""
