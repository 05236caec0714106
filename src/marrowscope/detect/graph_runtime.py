"""What runtimes share that compute exported graphs: the graphs do the arithmetic, torch what lies between them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from marrowscope.detect.runtime import Found
from marrowscope.model.parts import DENSE, JUDGE, MULTIPLE, READER
from marrowscope.model.rcnn import CellDetector, Dense, batch_images

Numbers = NDArray[np.uint8] | NDArray[np.float32]
Graph = Callable[[Numbers], Sequence[NDArray[np.float32]]]
"""One of `model.parts`, computed. What it gives back may be overwritten by its next call."""


CROPS, PROPOSALS = 4, 64
"""Rows that a reader and a judge are given at a time, whatever there is: a runtime prepares itself anew for every
number of rows that it has not met, which takes longer than some rows too many."""


def _in_parts(graph: Graph, rows: Numbers, size: int) -> list[NDArray[np.float32]]:
    """The outputs of `graph` for all rows (n > 0, ...), computed `size` rows at a time, the last ones filled up."""
    padded = np.concatenate([rows, np.zeros((-len(rows) % size, *rows.shape[1:]), rows.dtype)])
    parts = [[values.copy() for values in graph(padded[at : at + size])] for at in range(0, len(padded), size)]
    return [np.concatenate(outputs)[: len(rows)] for outputs in zip(*parts, strict=True)]


class GraphRuntime:
    """Finds cells with graphs by the names of `model.parts`."""

    def __init__(self, name: str, detector: CellDetector, graphs: Mapping[str, Graph]) -> None:
        """detector: the one that was exported; its weights are let go of, as the graphs have their own."""
        self.name = name
        self._graphs = graphs
        predictor = detector.heads.box_predictor
        self._judged = predictor.classify.out_features, predictor.locate.out_features
        for network in (detector.trunk, detector.pyramid, detector.proposals.head, detector.heads.box_head, predictor):
            network.to("meta")
        self._detector = detector.eval()

    def find(self, picture: NDArray[np.uint8]) -> Found:
        """See `Runtime.find`."""
        image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)
        size = (int(picture.shape[0]), int(picture.shape[1]))
        (found,) = self._detector.detect_by(self._dense, self._judge, batch_images([image], MULTIPLE), [size])
        return Found(*(found[k].numpy() for k in ("boxes", "labels", "scores")))

    def read(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Runtime.read`."""
        if READER not in self._graphs:
            raise ValueError("asked to read cells, but the checkpoint has no reader")
        (logits,) = _in_parts(self._graphs[READER], np.ascontiguousarray(crops.transpose(0, 3, 1, 2)), CROPS)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)

    def _dense(self, images: Tensor) -> Dense:
        seen = [torch.from_numpy(values) for values in self._graphs[DENSE](images.contiguous().numpy())]
        levels = len(seen) // 3
        return Dense(seen[:levels], seen[levels : 2 * levels], seen[2 * levels :])

    def _judge(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        if not len(pooled):
            logits, deltas = (pooled.new_zeros(0, width) for width in self._judged)
        else:
            judged = _in_parts(self._graphs[JUDGE], pooled.contiguous().numpy(), PROPOSALS)
            logits, deltas = map(torch.from_numpy, judged)
        return logits, deltas
