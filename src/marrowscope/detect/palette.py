"""One colour a lineage, the same on pictures and in QuPath.

Okabe and Ito's eight colours (Color Universal Design, 2008) are told apart by people with every common form of colour
vision. Stained marrow is pink and violet, so the four lineages that fill it get the four that stand off furthest.
"""

from marrowscope.cells.taxonomy import Lineage

Colour = tuple[int, int, int]

LINEAGE_COLOURS: dict[Lineage, Colour] = {
    Lineage.GRANULOCYTIC: (0, 114, 178),
    Lineage.ERYTHROID: (213, 94, 0),
    Lineage.LYMPHOID: (0, 158, 115),
    Lineage.MONOCYTIC: (240, 228, 66),
    Lineage.PLASMA: (86, 180, 233),
    Lineage.MEGAKARYOCYTIC: (230, 159, 0),
    Lineage.OTHER: (0, 0, 0),
}


def luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour, 0 (black) to 1 (white), as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ink_on(plate: Colour) -> Colour:
    """Black or white, whichever stands out more from this colour."""
    # White ink has contrast 1.05 / (L + .05), black (L + .05) / .05; they are equal at L = .179.
    return (0, 0, 0) if luminance(plate) > 0.179 else (255, 255, 255)
