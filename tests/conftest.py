"""What the tests share."""

from hypothesis import settings

settings.register_profile("trajlib", deadline=None)  # compilers and imports warm up
settings.load_profile("trajlib")
