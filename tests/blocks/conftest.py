"""Settings of the property tests on blocks."""

from hypothesis import settings

# The first example of a type may load a library.
settings.register_profile("blocks", deadline=None, print_blob=True)
settings.load_profile("blocks")
