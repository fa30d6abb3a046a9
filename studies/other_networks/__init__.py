"""Networks that the paper does not look at."""
