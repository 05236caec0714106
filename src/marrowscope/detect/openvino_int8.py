"""Networks in 8 bits by NNCF, after training: what each layer's numbers range over is learned from fields of the lab.

Some layers lose more by it than they gain: those whose outputs are logits and coordinates, and depthwise convolutions,
which are little work and whose channels differ widely once norms are folded into them. `KEPT` says which stay as they
are, the least first; whoever exports goes on until accuracy is kept (docs/decisions/0019).
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from importlib.util import find_spec
from io import StringIO
from typing import Any, NamedTuple

from marrowscope.detect.graph_runtime import Numbers
from marrowscope.detect.openvino_runtime import Model, in_a_thread_of_its_own, library
from marrowscope.errors import MissingExtra

_HEAVY = ("Convolution", "GroupConvolution", "MatMul")


class Kept(NamedTuple):
    """Layers that stay in fp32: what a person is told, and words in `TYPE NAME` of their operations."""

    what: str
    words: tuple[str, ...]


KEPT = (
    Kept(
        "depthwise and output layers",
        ("GroupConvolution ", "/cls_logits", "/bbox_pred", "/box_predictor/", "/classify/"),
    ),
    Kept("pyramid and proposal head", ("/pyramid/", "/head/")),
    Kept("box head", ("/box_head/",)),
)


def quantise(
    models: Mapping[str, Model], samples: Mapping[str, Sequence[Numbers]], kept: Sequence[Kept]
) -> dict[str, Model]:
    """The graphs in 8 bits, but for the layers `kept`. samples: inputs of each, as fields of the lab bring them about.

    A graph without samples (no cell was found to read) stays as it is. MissingExtra without NNCF.
    """
    library()
    if find_spec("nncf") is None:
        raise MissingExtra("int8: NNCF is not installed. pip install 'marrowscope[openvino]'.")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    words = [word for group in kept for word in group.words]
    smaller = {}
    for name, model in models.items():
        heavy = [op for op in model.get_ops() if op.get_type_name() in _HEAVY]
        left = [op for op in heavy if any(word in f"{op.get_type_name()} {op.get_friendly_name()}" for word in words)]
        if len(left) == len(heavy) or not samples.get(name):
            smaller[name] = model
            continue
        smaller[name] = in_a_thread_of_its_own(partial(_quantised, model, samples[name], left))
    return smaller


def _quantised(model: Model, samples: Sequence[Numbers], left: Sequence[Any]) -> Model:
    """NNCF's own work on one graph. left: operations that stay as they are."""
    import nncf

    # NNCF draws progress bars on stdout, where results belong.
    with redirect_stdout(StringIO()):
        return nncf.quantize(
            model.clone(),
            nncf.Dataset(list(samples)),
            # Asymmetric activations: the trunks' activations are not all ReLU.
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(samples),
            ignored_scope=nncf.IgnoredScope(names=[op.get_friendly_name() for op in left]),
        )
