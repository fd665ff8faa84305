"""What holds of every picture: it is as wide as all, nothing is cut off or covered, and all can be read."""

from itertools import combinations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from deepscan.evaluation.plot_style import styled


def drawn(figure: Figure) -> np.ndarray:
    """Return the figure's pixels as they are written, shape (height, width, 4)."""
    canvas = FigureCanvasAgg(figure)
    with styled():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def check(figure: Figure) -> None:
    """Fail where something of a figure is cut off, covered or too small."""
    pixels = drawn(figure)
    assert pixels.shape[1] == 1050 and pixels.shape[0] < 1400
    edge = np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    assert (edge == 255).all()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    boxes += [text.get_window_extent() for text in figure.texts if text.get_text()]
    for one, other in combinations(boxes, 2):
        # Labels of neighbouring ticks at the ends of axes may meet in a pixel or two.
        assert not one.padded(-1.5).overlaps(other.padded(-1.5))
    # At 700 pixels, two thirds, 8 points are 11 pixels.
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 8
    for axes in figure.axes:
        # The box of a slanted text, such as a contour's, is mostly empty.
        marks = [text for text in axes.texts if text.get_text() and not text.get_rotation()]
        for one, other in combinations(marks, 2):
            assert not one.get_window_extent().overlaps(other.get_window_extent())
