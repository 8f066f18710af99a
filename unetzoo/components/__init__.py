"""What networks are made of: kinds of components, components by name, and calling them with checked options."""
