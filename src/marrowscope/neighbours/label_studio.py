"""Detections in the words of a Label Studio project: its labelling config, and predictions made for it.

Label Studio (https://labelstud.io/guide/predictions) keeps boxes as percent of the picture, and names by the project's
own labels. A class goes by the label whose `value` or `alias` is its name, its code or one of its aliases; a result
bears the alias where a label has one, as Label Studio's own results do.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from marrowscope.cells.detections import Detections
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.errors import BadInput

TYPE = "rectanglelabels"
"""Of a region that is a labelled box, and the key of its labels; the tag RectangleLabels in lower case."""


@dataclass(frozen=True)
class Labelling:
    """How a project labels boxes on its picture.

    picture: name of the Image tag. data_key: entry of a task's data that says where the picture is.
    labels: class -> (name of the RectangleLabels tag, label). unlabelled: names of classes that the project lacks.
    """

    picture: str
    data_key: str
    labels: Mapping[int, tuple[str, str]]
    unlabelled: tuple[str, ...]


def read_labelling(config: str, taxonomy: Taxonomy) -> Labelling:
    """The labelling of a project, from its config in XML. BadInput where it labels none of these classes by boxes."""
    try:
        root = fromstring(config)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise BadInput(f"labelling config: is not readable as XML ({error}). Save it again in Label Studio.") from None
    pictures = {tag.get("name", ""): tag.get("value", "") for tag in _tags(root, "image")}
    controls = [tag for tag in _tags(root, TYPE) if tag.get("toName") in pictures]
    if not controls:
        raise BadInput(
            "labelling config: has no RectangleLabels whose toName is an Image. Label cells by boxes: "
            '<Image name="image" value="$image"/> <RectangleLabels name="cell" toName="image">...'
        )
    picture = controls[0].get("toName", "")
    value = pictures[picture]
    if not value.startswith("$") or len(value) == 1:
        raise BadInput(f"labelling config: value '{value}' of Image '{picture}' names no data. Write value=\"$image\".")
    # A label that the model does not know must not become the model's class for everything else.
    known = replace(taxonomy, other=None)
    labels: dict[int, tuple[str, str]] = {}
    for control in (tag for tag in controls if tag.get("toName") == picture):
        for label in _tags(control, "label"):
            spellings = [s for s in (label.get("alias"), label.get("value")) if s]
            for index in (known.find(s) for s in spellings):
                if index is not None:
                    labels.setdefault(index, (control.get("name", ""), spellings[0]))
    if not labels:
        raise BadInput(
            "labelling config: none of its labels is a class of the model. Name some so (value or alias): "
            f"{', '.join(taxonomy.names)}."
        )
    missing = tuple(name for i, name in enumerate(taxonomy.names) if i not in labels)
    return Labelling(picture, value[1:], labels, missing)


def _tags(root: Element, name: str) -> Iterator[Element]:
    """Tags of this name in lower case: Label Studio does not look at their case."""
    return (tag for tag in root.iter() if isinstance(tag.tag, str) and tag.tag.lower() == name)


def prediction(
    found: Detections, size: tuple[int, int], labelling: Labelling, model_version: str
) -> tuple[dict[str, Any], Counter[str]]:
    """What was found in a picture of `size` (width, height) as one prediction; and the cells left out, by class.

    Left out are cells of a class for which the project has no label. The prediction's own score, by which Label
    Studio puts doubtful tasks first, is the mean over its cells; None without any.
    """
    width, height = size
    regions: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for label, score, (x1, y1, x2, y2) in zip(found.labels, found.scores, found.boxes.tolist(), strict=True):
        if int(label) not in labelling.labels:
            left_out[found.taxonomy[int(label)].name] += 1
            continue
        control, name = labelling.labels[int(label)]
        box = {
            "x": 100 * x1 / width,
            "y": 100 * y1 / height,
            "width": 100 * (x2 - x1) / width,
            "height": 100 * (y2 - y1) / height,
        }
        regions.append(
            {
                "id": f"cell_{len(regions) + 1}",
                "type": TYPE,
                "from_name": control,
                "to_name": labelling.picture,
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {**box, "rotation": 0, TYPE: [name]},
                "score": float(score),
            }
        )
    mean = sum(region["score"] for region in regions) / len(regions) if regions else None
    return {"model_version": model_version, "score": mean, "result": regions}, left_out
