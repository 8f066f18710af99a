"""What a check is: its record, its outcomes, and the context it is given."""
