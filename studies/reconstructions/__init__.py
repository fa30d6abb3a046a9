"""What layers still know of an image, as images."""
