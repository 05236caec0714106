"""A package, so that the `tests` that a library leaves in site-packages (torchstain does) is not taken for ours."""
