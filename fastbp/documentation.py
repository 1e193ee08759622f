"""Where the documentation is."""

SITE = "https://fastbp.readthedocs.io/en/stable/"


class DocumentationLinkMixin:
    """What scikit-learn's HTML representation links to; its descriptions of parameters are shown beside such links."""

    _doc_link_module = "fastbp"
    _doc_link_template = SITE + "reference/generated/fastbp.{name}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"name": type(self).__name__}
