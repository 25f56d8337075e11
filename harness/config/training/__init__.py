"""How a model is trained, field by field."""
