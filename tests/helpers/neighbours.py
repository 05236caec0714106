"""A laboratory's project, a detector that knows its cells by heart, and Label Studio's own library as the judge."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.taxonomy import Taxonomy

JUDGE = Path(__file__).with_name("label_studio_judge.py")
SCHEME = Taxonomy.from_labels(["lymphocyte", "myelocyte", "segmented neutrophil"])
CONFIG = """
<View>
  <Header value="Cells"/>
  <Image name="field" value="$image" zoom="true"/>
  <RectangleLabels name="cell" toName="field">
    <Label value="Lymphozyt" alias="lymphocyte" background="green"/>
    <Label value="MYELO"/>
    <Label value="artefact"/>
  </RectangleLabels>
</View>
"""


class KnownCells:
    """Says of every field the same; not a runtime."""

    taxonomy = SCHEME
    input_size = (320, 240)

    def __init__(self) -> None:
        self.boxes = [[10, 20, 60, 80], [100, 100, 133.5, 150.25], [200, 10, 320, 240], [11, 21, 61, 80]]
        self.labels, self.scores = [0, 1, 2, 1], [0.9, 0.7, 0.6, 0.4]
        self.seen: list[FieldImage] = []

    def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
        self.seen += fields
        whole = np.asarray(self.boxes, np.float32), np.asarray(self.labels), np.asarray(self.scores, np.float32)
        return [Detections(*whole, SCHEME) for _ in fields]


@dataclass(frozen=True)
class Judge:
    """A Python with Label Studio's library. path: folder that is added to where it looks for packages."""

    python: str
    path: str = ""

    def run(self, *arguments: str, asked: str = "") -> str:
        """What the judge prints."""
        found = {**os.environ, "PYTHONPATH": self.path}
        done = subprocess.run(
            [self.python, str(JUDGE), *arguments], input=asked, env=found, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def errors(self, config: str, predictions: Sequence[Any], tasks: Sequence[Any] = ()) -> list[list[str]]:
        """What the library objects to in each prediction; every task must have the data that the config wants."""
        asked = json.dumps({"config": config, "predictions": list(predictions), "tasks": list(tasks)})
        said = json.loads(self.run("validate", asked=asked))
        assert said["tasks"] == [True] * len(tasks)
        found: list[list[str]] = said["errors"]
        return found
