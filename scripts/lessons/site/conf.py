"""Set Sphinx up for the site. It reads the folder that __main__.py fills; nothing is executed."""

project = "Training models in SageMaker notebooks"
author = "The workshop's authors"
copyright = f"2026, {author}"
language = "en"

extensions = ["myst_nb"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions: list[str] = []  # a price is no formula: $1 and $2
myst_heading_anchors = 4

html_theme = "furo"
html_title = project
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
