"""How much compute does a search need for the same result?"""
