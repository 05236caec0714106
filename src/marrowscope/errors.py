"""Every error that marrowscope raises on purpose.

    MarrowscopeError
    ├── BadInput                a file, folder or value from outside cannot be used
    │   ├── BadAnnotation       a label file is wrong: names file, object and field
    │   ├── BadImage            an image is missing, corrupt or too large
    │   ├── BadSlide            a whole slide is missing, damaged or of no known format
    │   ├── BadTaxonomy         a class scheme is wrong, or a class is not in it
    │   ├── BadRecipe           a recipe has an unknown or impossible value
    │   ├── BadCheckpoint       a checkpoint is incomplete, foreign or does not fit
    │   └── BadSetting          a setting of the station (camera address, database, port) cannot be used
    ├── InstrumentError         a camera or a stage cannot do what was asked
    │   ├── CameraLost          the camera stopped delivering: unplugged, or no frame in time
    │   ├── FrameDropped        a frame that was to be kept did not arrive whole
    │   └── NotOffered          the device has no such control
    ├── ArchiveError            the archive cannot do what was asked
    │   ├── NotFound            no such specimen, field, cell, report or user
    │   ├── Conflict            the name is taken, or somebody changed it meanwhile
    │   ├── Locked              the specimen is signed: amend it instead
    │   └── ArchiveDamaged      pixels, rows or the audit chain do not agree: names the first difference
    ├── NotAllowed              the role of this person does not permit it
    ├── NotDelivered            a hospital's interface did not take a report
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


class BadSlide(BadInput):
    """A whole slide is missing, damaged, or of a format that is not known."""


class BadTaxonomy(BadInput):
    """A class scheme is wrong, or a class name is not part of it."""


class BadRecipe(BadInput):
    """A recipe holds an unknown or impossible value."""


class BadCheckpoint(BadInput):
    """A checkpoint is incomplete, foreign, or does not fit what it is used for."""


class BadSetting(BadInput):
    """A setting of the station (camera address, database URL, port, certificate) cannot be used."""


class InstrumentError(MarrowscopeError):
    """A camera or a stage cannot do what was asked."""


class CameraLost(InstrumentError):
    """The camera stopped delivering: it was unplugged, or no frame came in time. Replug it; live views reconnect."""


class FrameDropped(InstrumentError):
    """A frame that was to be kept did not arrive whole. Nothing was kept; try again."""


class NotOffered(InstrumentError):
    """The device has no such control."""


class ArchiveError(MarrowscopeError):
    """The archive cannot do what was asked."""


class NotFound(ArchiveError):
    """No such specimen, slide, field, cell, report or user."""


class Conflict(ArchiveError):
    """The name is taken, or somebody changed the same thing meanwhile."""


class Locked(ArchiveError):
    """The specimen is signed; only an amendment changes it."""


class ArchiveDamaged(ArchiveError):
    """Pixels, rows or the audit chain do not agree. Names the first difference."""


class NotAllowed(MarrowscopeError):
    """The role of this person does not permit it."""


class NotDelivered(MarrowscopeError):
    """A hospital's interface did not take a report: unreachable, silent, or it refused. Says what it answered."""


class MissingExtra(MarrowscopeError):
    """An optional package is needed. The message says what to install."""


class TrainingDiverged(MarrowscopeError):
    """The loss became non-finite. The message names the fields of the batch."""
