"""The options by which a command looks at fields in another stain."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from marrowscope.assemble.detectors import OpenedDetector
    from marrowscope.detect.detector import Detector

Stain = Annotated[
    Literal["none", "reinhard", "macenko"],
    typer.Option(help="Bring the stain of the pictures, folder by folder, to that of training before looking at them."),
]
StainReference = Annotated[
    Path | None,
    typer.Option(help="A picture, or a folder of them, whose stain to take instead of that of the training fields."),
]


@dataclass(frozen=True)
class StainChoice:
    """What was asked for."""

    method: str = "none"
    reference: Path | None = None

    def over(self, opened: "OpenedDetector", images: Sequence[Path]) -> "Detector":
        """The detector as it looks at these pictures. BadInput without a reference."""
        from marrowscope.data.looks import pictures, swatch_of
        from marrowscope.detect.sources import find_images
        from marrowscope.detect.stain import StainMethod, StainNormalised, slides_of
        from marrowscope.errors import BadInput

        if self.method == "none":
            if self.reference is not None:
                raise BadInput("--stain-reference: give --stain reinhard or --stain macenko with it.")
            return opened.detector
        if self.reference is not None:
            swatch = swatch_of(pictures(find_images([self.reference])))
        elif opened.fields_seen is not None and len(opened.fields_seen.swatch):
            swatch = opened.fields_seen.swatch
        else:
            raise BadInput(
                f"--stain {self.method}: {opened.path} does not know the stain of its training fields. Give "
                "--stain-reference FOLDER, or teach it with `marrowscope drift --learn`."
            )
        return StainNormalised(opened.detector, StainMethod(self.method), swatch, slides_of(images))
