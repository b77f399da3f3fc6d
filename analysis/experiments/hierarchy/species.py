"""The hundred plant species of the UCI leaves data, each in its genus and family: general botany, written down.

Names and their spelling are the data's; the first word is the genus.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FAMILY = {
    "Acer": "Sapindaceae", "Alnus": "Betulaceae", "Arundinaria": "Poaceae", "Betula": "Betulaceae",
    "Callicarpa": "Lamiaceae", "Castanea": "Fagaceae", "Celtis": "Cannabaceae", "Cercis": "Fabaceae",
    "Cornus": "Cornaceae", "Cotinus": "Anacardiaceae", "Crataegus": "Rosaceae", "Cytisus": "Fabaceae",
    "Eucalyptus": "Myrtaceae", "Fagus": "Fagaceae", "Ginkgo": "Ginkgoaceae", "Ilex": "Aquifoliaceae",
    "Liquidambar": "Altingiaceae", "Liriodendron": "Magnoliaceae", "Lithocarpus": "Fagaceae",
    "Magnolia": "Magnoliaceae", "Morus": "Moraceae", "Olea": "Oleaceae", "Phildelphus": "Hydrangeaceae",
    "Populus": "Salicaceae", "Prunus": "Rosaceae", "Pterocarya": "Juglandaceae", "Quercus": "Fagaceae",
    "Rhododendron": "Ericaceae", "Salix": "Salicaceae", "Sorbus": "Rosaceae", "Tilia": "Malvaceae",
    "Ulmus": "Ulmaceae", "Viburnum": "Viburnaceae", "Zelkova": "Ulmaceae",
}  # fmt: skip
SPECIES = (
    "Acer Campestre", "Acer Capillipes", "Acer Circinatum", "Acer Mono", "Acer Opalus", "Acer Palmatum",
    "Acer Pictum", "Acer Platanoids", "Acer Rubrum", "Acer Rufinerve", "Acer Saccharinum", "Alnus Cordata",
    "Alnus Maximowiczii", "Alnus Rubra", "Alnus Sieboldiana", "Alnus Viridis", "Arundinaria Simonii",
    "Betula Austrosinensis", "Betula Pendula", "Callicarpa Bodinieri", "Castanea Sativa", "Celtis Koraiensis",
    "Cercis Siliquastrum", "Cornus Chinensis", "Cornus Controversa", "Cornus Macrophylla", "Cotinus Coggygria",
    "Crataegus Monogyna", "Cytisus Battandieri", "Eucalyptus Glaucescens", "Eucalyptus Neglecta",
    "Eucalyptus Urnigera", "Fagus Sylvatica", "Ginkgo Biloba", "Ilex Aquifolium", "Ilex Cornuta",
    "Liquidambar Styraciflua", "Liriodendron Tulipifera", "Lithocarpus Cleistocarpus", "Lithocarpus Edulis",
    "Magnolia Heptapeta", "Magnolia Salicifolia", "Morus Nigra", "Olea Europaea", "Phildelphus", "Populus Adenopoda",
    "Populus Grandidentata", "Populus Nigra", "Prunus Avium", "Prunus X Shmittii", "Pterocarya Stenoptera",
    "Quercus Afares", "Quercus Agrifolia", "Quercus Alnifolia", "Quercus Brantii", "Quercus Canariensis",
    "Quercus Castaneifolia", "Quercus Cerris", "Quercus Chrysolepis", "Quercus Coccifera", "Quercus Coccinea",
    "Quercus Crassifolia", "Quercus Crassipes", "Quercus Dolicholepis", "Quercus Ellipsoidalis", "Quercus Greggii",
    "Quercus Hartwissiana", "Quercus Ilex", "Quercus Imbricaria", "Quercus Infectoria sub", "Quercus Kewensis",
    "Quercus Nigra", "Quercus Palustris", "Quercus Phellos", "Quercus Phillyraeoides", "Quercus Pontica",
    "Quercus Pubescens", "Quercus Pyrenaica", "Quercus Rhysophylla", "Quercus Rubra", "Quercus Semecarpifolia",
    "Quercus Shumardii", "Quercus Suber", "Quercus Texana", "Quercus Trojana", "Quercus Variabilis",
    "Quercus Vulcanica", "Quercus x Hispanica", "Quercus x Turneri", "Rhododendron x Russellianum", "Salix Fragilis",
    "Salix Intergra", "Sorbus Aria", "Tilia Oliveri", "Tilia Platyphyllos", "Tilia Tomentosa", "Ulmus Bergmanniana",
    "Viburnum Tinus", "Viburnum x Rhytidophylloides", "Zelkova Serrata",
)  # fmt: skip


def parents() -> tuple[NDArray[np.int32], list[str]]:
    """Of the tree root, families, genera, species: each node's parent, -1 for the root, and the nodes' names."""
    families = sorted(set(FAMILY.values()))
    number = {name: k for k, name in enumerate([*families, *FAMILY], 1)}
    up = [-1, *[0] * len(families), *(number[FAMILY[genus]] for genus in FAMILY)]
    up += [number[name.split()[0]] for name in SPECIES]
    return np.array(up, np.int32), ["root", *number, *SPECIES]
