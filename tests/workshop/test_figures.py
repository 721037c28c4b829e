"""A figure in a lesson has a text for those who do not see it."""

from __future__ import annotations

import base64
import re

import pytest
from matplotlib import pyplot

from workshop import figures


def test_an_image_has_its_text_and_the_figure_is_closed():
    figure, axes = pyplot.subplots()
    axes.plot([1, 2])
    text = figures.to_html(figure, 'Falls from "2" to <1')
    match = re.fullmatch(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]+)">', text)
    assert match[1] == "Falls from &quot;2&quot; to &lt;1"
    assert base64.b64decode(match[2]).startswith(b"\x89PNG")
    assert not pyplot.fignum_exists(figure.number)


def test_a_figure_without_a_text_is_refused():
    with pytest.raises(ValueError, match="needs a text"):
        figures.to_html(pyplot.figure(), " ")
    pyplot.close("all")
