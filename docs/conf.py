"""Configuration of Sphinx for the documentation."""

from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parent.parent

project = "django-webpush-kit"
author = "The django-webpush-kit contributors"
copyright = "The django-webpush-kit contributors, MIT licence"  # noqa: A001  # the name Sphinx reads
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["myst_parser", "sphinx_copybutton"]
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
nitpicky = True
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "django-webpush-kit"
html_static_path = ["_static"]
html_css_files = ["wide-tables.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0c6b4f", "color-brand-content": "#0c6b4f"},
    "dark_css_variables": {"color-brand-primary": "#6fd3ae", "color-brand-content": "#6fd3ae"},
}
copybutton_prompt_text = "$ "

# addresses of examples, and this documentation itself, whose links the build checks
linkcheck_ignore = [
    r"https?://(localhost|127\.0\.0\.1|[\w.-]*\.example|[\w.-]*example\.(com|org))",
    r"https://django-webpush-kit\.readthedocs\.io/",
]
linkcheck_anchors = False
linkcheck_timeout = 20
