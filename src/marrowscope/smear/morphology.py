"""What tells the classes apart under the lens, as one table.

Sizes, nuclear share and textures follow the usual descriptions in haematology atlases (Bain, *Bone Marrow Pathology*;
ICSH recommendations), simplified to what a drawing can show. Colours are transmitted light on a white field, 0-255.
`marrow_cells` is the number of training cells of the class in Liu et al. 2022, Table 1.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from marrowscope.smear.shape import NuclearShape as Shape

Rgb = tuple[int, int, int]
Range = tuple[float, float]


class Chromatin(StrEnum):
    """The texture of a nucleus."""

    FINE = "fine"  # evenly stippled: blasts
    STRANDED = "stranded"  # delicate skeins: monocytes
    LACY = "lacy"  # open network: megaloblasts
    GRANULAR = "granular"  # coarse dots: early normoblasts, promyelocytes
    CLUMPED = "clumped"  # dark blocks with pale parting
    BLOCKED = "blocked"  # nearly all dark: lymphocytes, segmented cells
    PYKNOTIC = "pyknotic"  # structureless ink


@dataclass(frozen=True)
class Granules:
    """Granules: how many in 100 um2 of cytoplasm, radius in um, colour, and how strongly they cover."""

    per_100_um2: Range
    radius_um: Range
    colour: Rgb
    cover: float = 0.9
    over_nucleus: bool = False


@dataclass(frozen=True)
class Morphology:
    """How one class is drawn. Ranges are drawn from uniformly for every cell.

    diameter_um: of a circle of the cell's area. nuclear_share: nuclear area over cell area.
    off_centre: 0 puts the nucleus in the middle, 1 against the membrane.
    """

    code: str
    marrow_cells: int
    diameter_um: Range
    nuclear_share: Range
    shape: Shape
    chromatin: Chromatin
    nucleus_dark: Rgb
    nucleus_light: Rgb
    cytoplasm: Rgb
    rim: Rgb
    off_centre: Range = (0.1, 0.5)
    waviness: float = 0.022
    elongation: Range = (0.0, 0.18)
    dents: tuple[int, int] = (0, 1)
    nucleoli: tuple[int, int] = (0, 0)
    nucleolus_um: Range = (0.5, 0.8)
    hof: float = 0.0
    vacuoles: tuple[int, int] = (0, 0)
    mottle: float = 0.3
    granules: tuple[Granules, ...] = ()
    auer_rods: tuple[int, int] = (0, 0)


# Granulocytes share a purple nucleus that darkens as it ripens.
_MYELOID_BLAST = ((100, 52, 140), (170, 120, 190))
_MYELOID_MID = ((74, 38, 124), (146, 98, 178))
_MYELOID_RIPE = ((50, 26, 104), (106, 64, 152))
_LYMPHOID = ((52, 30, 110), (112, 74, 162))
_ERYTHROID = ((44, 20, 88), (122, 76, 152))
_MONOCYTIC = ((108, 64, 150), (172, 132, 198))
_PLASMA = ((62, 28, 112), (140, 88, 170))

_FINE_SPECIFIC = Granules((70, 130), (0.13, 0.22), (196, 124, 168), cover=0.75)
_SPARSE_AZUROPHIL = Granules((10, 28), (0.16, 0.26), (122, 38, 122), cover=0.85)

MORPHOLOGIES: tuple[Morphology, ...] = (
    Morphology(
        "EOS_SEG", 168, (11.8, 14.5), (0.25, 0.33), Shape.SPECTACLES, Chromatin.BLOCKED,
        *_MYELOID_RIPE, (238, 186, 168), (232, 176, 170), off_centre=(0.2, 0.8),
        granules=(Granules((230, 300), (0.30, 0.46), (222, 112, 78), cover=0.88),),
    ),
    Morphology(
        "NORMO_BASO", 185, (11.5, 14.5), (0.60, 0.72), Shape.ROUND, Chromatin.GRANULAR,
        *_ERYTHROID, (84, 94, 172), (58, 68, 150), waviness=0.03, mottle=0.45, hof=0.25, off_centre=(0.0, 0.35),
    ),
    Morphology(
        "PLASMABLAST", 331, (13.5, 17.0), (0.52, 0.64), Shape.ROUND, Chromatin.FINE,
        (78, 36, 126), (144, 92, 172), (104, 114, 184), (80, 88, 166), off_centre=(0.6, 0.95), elongation=(0.1, 0.3),
        nucleoli=(1, 3), nucleolus_um=(0.8, 1.2), hof=0.5, mottle=0.5, waviness=0.035,
    ),
    Morphology(
        "PROMYELO", 398, (15.5, 20.0), (0.50, 0.62), Shape.OVAL, Chromatin.GRANULAR,
        (88, 44, 134), (156, 104, 182), (164, 158, 208), (138, 138, 200), off_centre=(0.5, 0.95), nucleoli=(1, 3),
        nucleolus_um=(0.7, 1.1), hof=0.5, mottle=0.45,
        granules=(Granules((90, 150), (0.17, 0.30), (112, 26, 112), over_nucleus=True),),
    ),
    Morphology(
        "MEGALO_POLY", 464, (13.8, 17.5), (0.44, 0.56), Shape.ROUND, Chromatin.LACY,
        (66, 32, 108), (182, 136, 192), (158, 156, 192), (140, 138, 182), waviness=0.035, mottle=0.55,
    ),
    Morphology(
        "LYM_ATYP", 472, (14.5, 19.0), (0.32, 0.46), Shape.OVAL, Chromatin.CLUMPED,
        (66, 36, 122), (134, 92, 176), (196, 208, 236), (112, 134, 208), waviness=0.05, dents=(2, 4),
        elongation=(0.1, 0.35), off_centre=(0.2, 0.8), mottle=0.3, nucleoli=(0, 1),
        granules=(Granules((0, 4), (0.2, 0.3), (150, 60, 130)),),
    ),
    Morphology(
        "NEU_SEG", 629, (11.0, 13.8), (0.22, 0.30), Shape.SEGMENTED, Chromatin.BLOCKED,
        *_MYELOID_RIPE, (238, 214, 222), (230, 204, 218), granules=(_FINE_SPECIFIC,), off_centre=(0.0, 0.6),
    ),
    Morphology(
        "NORMO_POLY", 720, (9.3, 11.6), (0.40, 0.54), Shape.ROUND, Chromatin.CLUMPED,
        (40, 18, 84), (136, 92, 160), (160, 158, 192), (144, 142, 182), mottle=0.5, off_centre=(0.0, 0.6),
    ),
    Morphology(
        "META", 942, (12.3, 15.2), (0.36, 0.45), Shape.KIDNEY, Chromatin.CLUMPED,
        (64, 34, 116), (134, 90, 170), (232, 208, 222), (222, 198, 218), granules=(_FINE_SPECIFIC, _SPARSE_AZUROPHIL),
        off_centre=(0.3, 0.9),
    ),
    Morphology(
        "MYELO", 982, (13.0, 16.5), (0.40, 0.52), Shape.OVAL, Chromatin.CLUMPED,
        *_MYELOID_MID, (222, 200, 224), (202, 186, 222), off_centre=(0.6, 1.0), hof=0.3, mottle=0.4,
        granules=(
            Granules((70, 120), (0.15, 0.24), (182, 106, 168), cover=0.8),
            Granules((22, 50), (0.17, 0.27), (120, 40, 124), cover=0.85),
        ),
    ),
    Morphology(
        "PROLYM", 1090, (10.4, 13.2), (0.62, 0.72), Shape.ROUND, Chromatin.CLUMPED,
        (74, 44, 130), (146, 106, 182), (184, 202, 236), (164, 186, 230), nucleoli=(1, 1), nucleolus_um=(1.05, 1.45),
        off_centre=(0.2, 0.7),
    ),
    Morphology(
        "PROPLASMA", 1095, (12.0, 15.5), (0.32, 0.46), Shape.ROUND, Chromatin.CLUMPED,
        *_PLASMA, (116, 114, 184), (90, 90, 168), off_centre=(0.9, 1.0), elongation=(0.2, 0.45), hof=0.85, mottle=0.5,
        nucleoli=(0, 1), nucleolus_um=(0.6, 0.9), vacuoles=(0, 2), waviness=0.03,
    ),
    Morphology(
        "BAND", 1104, (11.3, 14.2), (0.28, 0.36), Shape.BAND, Chromatin.BLOCKED,
        (56, 30, 110), (118, 74, 158), (236, 212, 222), (228, 204, 218), granules=(_FINE_SPECIFIC,),
        off_centre=(0.0, 0.6),
    ),
    Morphology(
        "PROMONO", 1259, (15.0, 19.5), (0.46, 0.58), Shape.CONVOLUTED, Chromatin.STRANDED,
        (92, 52, 138), (164, 122, 190), (182, 184, 206), (164, 168, 198), waviness=0.04, vacuoles=(2, 7), mottle=0.5,
        granules=(Granules((30, 70), (0.10, 0.16), (150, 88, 150), cover=0.7),), dents=(0, 2),
    ),
    Morphology(
        "NORMO_ORTHO", 1378, (7.7, 9.8), (0.20, 0.30), Shape.ROUND, Chromatin.PYKNOTIC,
        (34, 14, 72), (70, 40, 104), (218, 178, 194), (208, 166, 186), off_centre=(0.1, 0.9), mottle=0.25,
    ),
    Morphology(
        "LYMPHOBLAST", 1531, (10.0, 13.0), (0.78, 0.87), Shape.FOLDED, Chromatin.GRANULAR,
        (86, 52, 140), (138, 98, 178), (150, 172, 224), (124, 148, 212), nucleoli=(0, 1), nucleolus_um=(0.5, 0.75),
        off_centre=(0.0, 0.6),
    ),
    Morphology(
        "LYM", 1605, (7.8, 10.2), (0.70, 0.82), Shape.ROUND, Chromatin.BLOCKED,
        *_LYMPHOID, (172, 192, 232), (146, 170, 222), off_centre=(0.2, 0.9), waviness=0.03,
    ),
    Morphology(
        "MYELOBLAST", 2137, (12.3, 16.0), (0.70, 0.79), Shape.OVAL, Chromatin.FINE,
        *_MYELOID_BLAST, (134, 152, 214), (106, 126, 202), nucleoli=(2, 5), nucleolus_um=(0.65, 1.05), hof=0.2,
        off_centre=(0.2, 0.8),
    ),
    Morphology(
        "PROMYELO_ABN", 2528, (14.0, 19.0), (0.46, 0.58), Shape.CLEFT, Chromatin.GRANULAR,
        (86, 40, 132), (154, 100, 180), (196, 148, 196), (180, 148, 206), waviness=0.05, elongation=(0.1, 0.35),
        nucleoli=(0, 1), mottle=0.4, off_centre=(0.0, 0.5), auer_rods=(0, 9), dents=(0, 2),
        granules=(Granules((250, 420), (0.18, 0.32), (140, 34, 120), over_nucleus=True),),
    ),
    Morphology(
        "MONOBLAST", 2784, (15.5, 21.0), (0.60, 0.70), Shape.FOLDED, Chromatin.STRANDED,
        *_MONOCYTIC, (162, 172, 212), (134, 150, 204), nucleoli=(1, 2), nucleolus_um=(1.1, 1.6), mottle=0.45,
        off_centre=(0.1, 0.6), waviness=0.03, vacuoles=(0, 1),
    ),
    Morphology(
        # Absent from Table 1: 157 test cells, scaled by Table 1's training to test ratio.
        "MEGALO_ORTHO", 537, (11.8, 15.2), (0.24, 0.34), Shape.ROUND, Chromatin.LACY,
        (54, 26, 96), (168, 120, 176), (220, 180, 194), (208, 168, 188), off_centre=(0.3, 1.0), waviness=0.035,
        mottle=0.4,
    ),
)  # fmt: skip


@cache
def morphologies() -> dict[str, Morphology]:
    """The table by class code."""
    return {m.code: m for m in MORPHOLOGIES}
