"""Layout checks for every figure: the common width, nothing cut off or covered, readable text."""

from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from deepscan.evaluation.plot_style import styled


def render(figure: Figure) -> np.ndarray:
    """Return the figure's pixels as saved, shape (height, width, 4)."""
    canvas = FigureCanvasAgg(figure)
    with styled():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def check_layout(figure: Figure) -> None:
    """Fail if a part of a figure is cut off, covered or too small."""
    pixels = render(figure)
    assert pixels.shape[1] == 1050 and pixels.shape[0] < 1400
    edge = np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    assert (edge == 255).all()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    boxes += [text.get_window_extent() for text in figure.texts if text.get_text()]
    for first, second in combinations(boxes, 2):
        # Tick labels at the ends of neighbouring axes may touch by a pixel or two.
        assert not first.padded(-1.5).overlaps(second.padded(-1.5))
    # Scaled to a width of 700 pixels, 8 points are 11 pixels.
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 8
    for axes in figure.axes:
        # The bounding box of rotated text, such as a contour label, is mostly empty.
        labels = [text for text in axes.texts if text.get_text() and not text.get_rotation()]
        for first, second in combinations(labels, 2):
            assert not first.get_window_extent().overlaps(second.get_window_extent())
