"""Is what a preflight estimates what a training step takes?"""
