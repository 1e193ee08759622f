"""What is not needed is not imported, and what is missing is named."""

import subprocess
import sys

import pytest

from fastbp import SGD, Dense, Network, OneCycle
from fastbp.display import LossCurveDisplay, ScheduleDisplay, WeightsDisplay

OTHERS = ("matplotlib", "tqdm", "IPython", "ipywidgets")


@pytest.mark.once
@pytest.mark.parametrize("module", ["fastbp", "fastbp.display"])
def test_nothing_more_is_imported(module):
    code = f"import sys, {module}; print([name for name in {OTHERS} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: LossCurveDisplay(loss=[1.0]).plot(),
        lambda: ScheduleDisplay.from_schedule(OneCycle(0.1, 10), 10),
        lambda: WeightsDisplay(weights=[[1.0]]).plot(),
    ],
)
def test_without_matplotlib(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"Display needs matplotlib to draw: pip install 'fastbp\[plot\]'"):
        draw()


def test_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    net = Network([Dense(1)], n_inputs=1, random_state=0)
    before = net.parameters.copy()
    with pytest.raises(ImportError, match=r"progress=True needs tqdm: pip install 'fastbp\[progress\]'"):
        net.fit([[0.0], [1.0]], [0.0, 1.0], optimizer=SGD(0.1), progress=True)
    assert (net.parameters == before).all()
