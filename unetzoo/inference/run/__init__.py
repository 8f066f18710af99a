"""Running a network on an image: whole, in exact tiles, in windows, augmented."""
