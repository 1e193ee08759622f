"""What the pictures of the gallery have in common."""


def reset(gallery_conf, fname):
    """Called by sphinx-gallery before each example, after it has set matplotlib's defaults."""
    import matplotlib

    matplotlib.rcParams.update({
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.constrained_layout.use": True,
        "figure.figsize": (7.0, 3.6),
        "grid.alpha": 0.3,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
    })  # fmt: skip
