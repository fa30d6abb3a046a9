"""How well does a probe predict which networks train?"""
