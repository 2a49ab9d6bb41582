"""The colours of the pictures.

Each means one thing in all pictures. Readers with protanopia or deuteranopia can tell them apart,
and lines of different kinds also differ in their dashes, for a print in grey.
"""

FAR, FRR = "#0072B2", "#CC6100"
"""Impostor pairs and the FAR (solid lines); genuine pairs and the FRR (dashed lines)."""
WORST, GREY = "#990013", "#A3ABB3"
"""The worst classes; the other classes."""
CHOSEN, DEPLOYED = "#008654", "#B01FE0"
"""The recommended threshold; the deployed one."""
MEAN = "#000000"
"""Means of classes, and pooled curves."""
RANGE = "#E3EBF2"
"""Background of the calibration range."""
NOTE = "#59636D"
"""Text beside the data, and marks that carry no value."""
SERIES = ("#000000", FAR, FRR, CHOSEN, DEPLOYED, WORST, "#6B7680", "#00A5C4")
"""Curves of several runs in one panel. Their dashes differ too."""
DASHES = ("-", "--", (0, (1, 1)), "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 3)), ":")
"""Dashes of the curves of several runs."""
