"""A notebook is run, and what its cells show is looked at."""

import textwrap
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.once

CELLS = {
    "network": """
        import fastbp
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        X /= 16
        net = fastbp.Network(
            [fastbp.Dense(32, "relu"), fastbp.Residual([fastbp.Dense(32, "relu")]), fastbp.Dense(10)],
            n_inputs=64, loss="softmax_cross_entropy", random_state=0)
        net
    """,
    "summary": "net.summary()",
    "layers": "fastbp.Residual([fastbp.Dense(32, 'relu', dropout=0.5), fastbp.Dense(32, 'relu', dropout=0.5)])",
    "architecture": """
        from fastbp.display import ArchitectureDisplay
        ArchitectureDisplay.from_network(net)
    """,
    "progress": "history = net.fit(X, y, epochs=5, validation_data=(X, y), progress=True)",
    "history": "history",
    "plot": "history.plot()",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each cell shows: a list of outputs as notebooks keep them."""
    for name in ("ipykernel", "matplotlib", "tqdm"):
        pytest.importorskip(name)
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(textwrap.dedent(code).strip()) for code in CELLS.values()]
    )
    elsewhere = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}  # the sources would be imported here
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=elsewhere).execute()
    widgets = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {"state": {}})
    return {
        "widgets": [widget["state"].get("value") for widget in widgets["state"].values()],
        **{name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)},
    }


def shown(outputs, mime):
    """What there is of a MIME type in a cell's only output."""
    (output,) = outputs
    return output["data"][mime]


def test_network(outputs):
    assert shown(outputs["network"], "text/plain").startswith("Network(\n    layers=[\n        Dense(n_units=32,")
    html = ElementTree.fromstring(f"<div>{shown(outputs['network'], 'text/html')}</div>")
    table, drawing = html.find("table"), html.find("details/{http://www.w3.org/2000/svg}svg")
    rows = [[cell.text or "" for cell in row] for row in table.iter("tr")]
    assert [row[0] for row in rows] == ["name", "0", "1", "1.0", "2", ""]
    assert rows[3][1].strip() == "Dense(n_units=32, activation='relu')" and rows[-1][5] == "3,466"
    assert len(drawing) > 10


def test_summary(outputs):
    assert shown(outputs["summary"], "text/html") in shown(outputs["network"], "text/html")
    assert shown(outputs["summary"], "text/plain").splitlines()[-1].split() == ["total", "3,466", "27,728"]


def test_layers(outputs):
    assert shown(outputs["layers"], "text/plain") == textwrap.dedent("""\
        Residual(
            layers=(
                Dense(n_units=32, activation='relu', dropout=0.5),
                Dense(n_units=32, activation='relu', dropout=0.5),
            ),
        )""")


def test_architecture(outputs):
    svg = shown(outputs["architecture"], "image/svg+xml")
    assert svg == shown(outputs["architecture"], "text/html") and svg.startswith("<svg ")


def test_progress(outputs):
    """A bar of widgets where there are ipywidgets, else of characters, and no warning."""
    shown = outputs["progress"]
    if all(output.output_type == "stream" for output in shown):  # of which there may be several
        text = "".join(output["text"] for output in shown)
    else:
        (output,) = shown
        assert "application/vnd.jupyter.widget-view+json" in output["data"]
        text = "".join(map(str, outputs["widgets"]))
    assert "5/5" in text and "validation_loss=" in text and "Warning" not in text


def test_history(outputs):
    assert shown(outputs["history"], "text/plain").startswith("History(5 epochs in ")


def test_plot(outputs):
    display, image = outputs["plot"]
    assert "LossCurveDisplay" in display["data"]["text/plain"] and "image/png" in image["data"]
