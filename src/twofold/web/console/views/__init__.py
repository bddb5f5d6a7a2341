"""What the pages show, as plain values made from the shared look. Pure."""
