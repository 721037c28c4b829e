"""Show a figure of Matplotlib in a notebook with a text for those who do not see it.

figures.show(figure, "Loss by epoch. It falls in both runs, faster in the second.")
"""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 100


def show(figure: Figure, alt: str) -> None:
    """Display a figure as an image with this text, and close it. The text says what one sees."""
    from IPython.display import HTML, display

    display(HTML(to_html(figure, alt)))


def to_html(figure: Figure, alt: str) -> str:
    """Return an HTML image of a figure, with its text, and close the figure.

    Raises ValueError where there is no text.
    """
    from matplotlib import pyplot

    if not alt.strip():
        raise ValueError("a figure needs a text that says what one sees")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    pyplot.close(figure)
    data = base64.b64encode(content.getvalue()).decode("ascii")
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'
