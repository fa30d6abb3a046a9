"""What VGG16 still knows of an image."""
