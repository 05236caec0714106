"""What all workers need, for the one process that they are copied from, and for no other: they share its memory.

The garbage collector is told to leave alone what is here, as it would write into what is shared, once for each copy.
"""

import contextlib
import gc
import importlib

from marrowscope.detect.openvino_runtime import library
from marrowscope.errors import MissingExtra

_NEEDED = (
    "cv2",
    "marrowscope.assemble.slide_work",
    "marrowscope.detect.field_detector",
    "marrowscope.model.trunk",
)
for _name in _NEEDED:
    importlib.import_module(_name)
with contextlib.suppress(MissingExtra):
    library()
gc.collect()
gc.freeze()
