"""Own models, as tutorials and papers write them."""
