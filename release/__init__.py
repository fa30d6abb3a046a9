"""Up to publishing: is what would be uploaded fit to be installed?"""
