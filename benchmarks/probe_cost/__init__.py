"""What does a probe cost?"""
