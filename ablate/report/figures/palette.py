"""The colours of every picture, in files and in a browser, and the mark of every verdict.

Colours are those of Okabe and Ito, "Color universal design" (2008); what colour says, shape
or line says too.
"""

INK, GREY, LIGHT_GREY = "#222222", "#6b6b6b", "#d9d9d9"
EQUIVALENCE_FILL = "#eef3f0"  # behind what counts as equivalent
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
VERDICT_MARKERS = {  # a verdict's first word -> its colour, and matplotlib's name of its marker
    "better": (COLOURS[0], ">"),
    "worse": (COLOURS[1], "<"),
    "equivalent": (COLOURS[2], "s"),
    "undecided": (GREY, "o"),
    "differs": (COLOURS[3], "D"),
}
