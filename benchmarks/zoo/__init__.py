"""Many architectures, each called as its documentation calls it: answered, and rightly judged?"""
