"""Every error that marrowscope raises on purpose.

    MarrowscopeError
    ├── BadInput                a file, folder or value from outside cannot be used
    │   ├── BadAnnotation       a label file is wrong: names file, object and field
    │   ├── BadImage            an image is missing, corrupt or too large
    │   ├── BadTaxonomy         a class scheme is wrong, or a class is not in it
    │   ├── BadRecipe           a recipe has an unknown or impossible value
    │   └── BadCheckpoint       a checkpoint is incomplete, foreign or does not fit
    ├── MissingExtra            an optional package is needed: says what to install
    └── TrainingDiverged        the loss became non-finite: names the field

A message names the thing, the place and the remedy. The command line prints it without a traceback and exits with
code 2.
"""


class MarrowscopeError(Exception):
    """Base of all errors raised on purpose."""


class BadInput(MarrowscopeError):
    """Something from outside (file, folder, option) cannot be used as it is."""


class BadAnnotation(BadInput):
    """A label file is wrong. Names the file, the object and the remedy."""


class BadImage(BadInput):
    """An image is missing, corrupt, or larger than the limit."""


class BadTaxonomy(BadInput):
    """A class scheme is wrong, or a class name is not part of it."""


class BadRecipe(BadInput):
    """A recipe holds an unknown or impossible value."""


class BadCheckpoint(BadInput):
    """A checkpoint is incomplete, foreign, or does not fit what it is used for."""


class MissingExtra(MarrowscopeError):
    """An optional package is needed. The message says what to install."""


class TrainingDiverged(MarrowscopeError):
    """The loss became non-finite. The message names the fields of the batch."""
