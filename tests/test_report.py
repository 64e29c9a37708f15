"""The report: one page that holds everything, safe against any name, and alive in a real browser at two widths."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from tinyquant import models
from tinyquant.analysis.cost import cost
from tinyquant.analysis.report import report, sample_codes
from tinyquant.cli import main
from tinyquant.data import digits
from tinyquant.graph import Graph, Node, Value
from tinyquant.integer.model import IntegerModel
from tinyquant.numerics.affine import quantize
from tinyquant.numerics.qparams import QParams
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.prepare import quantize_model

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def digits_model():
    (x, _), _ = digits()
    model = models.load_checkpoint("resnet")
    return convert(quantize_model(model, calibrate(model, x[:128])))


class Page(HTMLParser):
    """Tags, ids, links and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.words = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        self.ids.add(found.get("id"))
        if "href" in found:
            self.links.append(found["href"])

    def handle_data(self, data):
        self.words.append(data)


def hostile_model():
    """Names that would be tags, scripts and templates if they were not escaped."""
    qp, int8 = QParams(0.5, 0), np.dtype(np.int8)
    names = ['</script><script>alert("x")</script>', "<b>{{js}}</b>", '" onload="alert(1)']
    nodes = tuple(
        Node(name, "RELU", (before,), (1, 4), qparams=qp, dtype=int8)
        for before, name in zip(["</title><i>in", *names], names)
    )
    return IntegerModel(Graph((Value("</title><i>in", (1, 4), int8, qp),), nodes, (names[-1],))), names


def test_the_page_needs_nothing_from_elsewhere(digits_model):
    text = report(digits_model)
    assert not re.search(r"""(src|href|action)\s*=\s*["'](?!#)""", text)
    assert "http" not in text and "@import" not in text and "url(" not in re.sub(r"url\(#\w+\)", "", text)


def test_every_node_has_its_place_and_every_link_leads_somewhere(digits_model):
    page = Page(report(digits_model))
    assert {f"node-{i}" for i in range(len(digits_model.graph))} <= page.ids
    assert {link.removeprefix("#") for link in page.links} <= page.ids
    words = " ".join(page.words)
    for node in digits_model.graph:
        assert node.name in words
    assert f"{cost(digits_model).peak_bytes:,}" in words and f"{cost(digits_model).macs:,}" in words


def test_the_histograms_and_steps_are_of_the_input_given(digits_model):
    (_, _), (xt, _) = digits()
    codes = quantize(xt[:20], digits_model.inputs[0].qparams)
    text = report(digits_model, codes)
    assert "of the 20 rows of the given input" in text
    used = np.unique(digits_model.trace(codes)["stem.conv"]).size
    assert f"{used} of 256 codes used" in text
    assert "one random input (seed 0)" in report(digits_model)


def test_the_steps_end_in_the_codes_of_the_kernels(digits_model):
    page = report(digits_model)
    stories = json.loads(re.search(r'id="stories">(.*?)</script>', page, re.DOTALL)[1])
    assert [s["label"].split(" [")[0] for s in stories] == [node.name for node in digits_model.graph]
    trace = digits_model.trace(sample_codes(digits_model))
    for story, node in zip(stories, digits_model.graph):
        index = tuple(int(i) for i in re.search(r"\[(.*?)\]", story["label"])[1].split(","))
        code = int(trace[node.name][index])
        assert any(str(code) in line for step in story["steps"] for line in step["lines"])


def test_names_from_a_file_are_text_and_nothing_else():
    model, names = hostile_model()
    page = Page(report(model, title="<script>alert(2)</script>"))
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert not any("onload" in attrs for _, attrs in page.tags) and "i" not in [tag for tag, _ in page.tags]
    assert all(name in "".join(page.words) for name in names)


def test_what_is_not_an_integer_model_is_refused():
    with pytest.raises(TypeError, match="m must be an IntegerModel, got str. Convert the model"):
        report("model.tflite")


def test_the_command_writes_the_page_whole_or_not_at_all(digits_model, tmp_path, capsys):
    digits_model.save(tmp_path / "m.npz")
    assert main(["report", str(tmp_path / "m.npz"), "-o", str(tmp_path / "r.html")]) == 0
    assert "15 nodes" in capsys.readouterr().out
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == report(digits_model, title="m")
    assert main(["report", str(tmp_path / "none.npz"), "-o", str(tmp_path / "s.html")]) == 3
    assert main(["report", str(tmp_path / "m.npz"), "-o", str(tmp_path / "no" / "s.html")]) == 3
    assert "Make it first" in capsys.readouterr().err and not (tmp_path / "s.html").exists()


# ------------------------------------------------------------------------------------------ in a real browser

PROBE = """
<script>
(function () {
  const seen = {width: innerWidth, page: document.documentElement.scrollWidth};
  const at = (id) => document.getElementById(id);
  const key = (name) => at("next").dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true}));
  const steps = [at("step-count").textContent];
  at("next").click(); steps.push(at("step-count").textContent);
  key("ArrowRight"); steps.push(at("step-count").textContent);
  key("ArrowLeft"); at("back").click(); at("back").click(); steps.push(at("step-count").textContent);
  seen.steps = steps; seen.backOff = at("back").disabled;
  at("filter").value = "BLOCK2"; at("filter").dispatchEvent(new Event("input"));
  seen.shown = at("shown").textContent;
  at("filter").value = ""; at("filter").dispatchEvent(new Event("input"));
  document.querySelector('button[data-story="3"]').click();
  seen.pick = at("pick").value; seen.title = at("step-title").textContent;
  at("pick").value = "0"; at("pick").dispatchEvent(new Event("change"));
  seen.text = at("step-text").textContent.length > 100;
  at("open-all").click();
  seen.open = document.querySelectorAll("#nodes details[open]").length;
  at("open-all").click();
  const boxes = Array.from(document.querySelectorAll("details, .step, .tiles, select"));
  seen.widest = Math.max(...boxes.map((e) => e.getBoundingClientRect().right));
  document.querySelector('a[href="#node-4"]').dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}));
  setTimeout(function () { seen.followed = at("node-4").open; parent.postMessage(JSON.stringify(seen), "*"); }, 100);
})();
</script></body>"""

FRAME = """<!doctype html><body style="margin:0">
<script>addEventListener("message", (e) => document.body.setAttribute("data-seen", btoa(e.data)));</script>
<iframe src="page.html" width="{width}" height="900" style="border:0"></iframe></body>"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [400, 1280])
def test_controls_and_links_work_in_a_browser_and_nothing_sticks_out(digits_model, tmp_path, width):
    """The page is put in a frame of the width, its controls are used, and what they did is read back."""
    import base64

    (tmp_path / "page.html").write_text(report(digits_model).replace("</body>", PROBE), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --virtual-time-budget=4000 --window-size=1400,900 --dump-dom"
    ).split()
    done = subprocess.run(
        [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "frame.html").as_uri()],
        capture_output=True, text=True, encoding="utf-8", timeout=120,
    )  # fmt: skip
    found = re.search(r'data-seen="([^"]+)"', done.stdout)
    assert found, done.stderr[-500:]
    seen = json.loads(base64.b64decode(found[1]))
    assert seen["steps"] == ["step 1 of 6", "step 2 of 6", "step 3 of 6", "step 1 of 6"] and seen["backOff"]
    assert seen["shown"] == "4 of 15 nodes" and seen["pick"] == "3" and seen["text"]
    assert seen["open"] == 15 and seen["followed"]
    assert seen["width"] == width and seen["page"] <= width and seen["widest"] <= width
