"""The site: pages made of the executed lessons and the guides, by Sphinx and MyST-NB."""
