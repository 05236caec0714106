"""marrowscope: find and name bone-marrow cells in Wright-stained fields. Decision support: a person signs."""

__version__ = "0.1.0"
