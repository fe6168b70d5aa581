"""Pages for readers; their tables and figures are made from docs/results and from code. Door: __main__.py."""
