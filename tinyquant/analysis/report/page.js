"use strict";
(function () {
  const stories = JSON.parse(document.getElementById("stories").textContent);
  const pick = document.getElementById("pick");
  const title = document.getElementById("step-title");
  const text = document.getElementById("step-text");
  const count = document.getElementById("step-count");
  const back = document.getElementById("back");
  const next = document.getElementById("next");
  let at = 0;

  function show() {
    const story = stories[Number(pick.value)];
    const step = story.steps[at];
    title.textContent = step.title;
    text.textContent = step.lines.join("\n");
    count.textContent = "step " + (at + 1) + " of " + story.steps.length;
    back.disabled = at === 0;
    next.disabled = at === story.steps.length - 1;
  }

  function move(by) {
    const last = stories[Number(pick.value)].steps.length - 1;
    at = Math.min(Math.max(at + by, 0), last);
    show();
  }

  pick.addEventListener("change", function () { at = 0; show(); });
  back.addEventListener("click", function () { move(-1); });
  next.addEventListener("click", function () { move(1); });
  document.getElementById("steps").addEventListener("keydown", function (event) {
    if (event.target === pick) return;
    if (event.key === "ArrowRight") move(1);
    if (event.key === "ArrowLeft") move(-1);
  });

  const nodes = Array.from(document.querySelectorAll("#nodes details"));
  const filter = document.getElementById("filter");
  filter.addEventListener("input", function () {
    const wanted = filter.value.toLowerCase();
    let shown = 0;
    for (const node of nodes) {
      node.hidden = !node.querySelector("summary").textContent.toLowerCase().includes(wanted);
      shown += node.hidden ? 0 : 1;
    }
    document.getElementById("shown").textContent = shown + " of " + nodes.length + " nodes";
  });
  document.getElementById("open-all").addEventListener("click", function () {
    const open = nodes.some(function (node) { return !node.open; });
    for (const node of nodes) node.open = open;
  });

  // A link to a node opens it; the button inside a node goes to its steps.
  function follow() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") { target.hidden = false; target.open = true; target.scrollIntoView(); }
  }
  window.addEventListener("hashchange", follow);
  for (const button of document.querySelectorAll("button[data-story]")) {
    button.addEventListener("click", function () {
      pick.value = button.dataset.story;
      at = 0;
      show();
      document.getElementById("steps").scrollIntoView();
    });
  }
  show();
  follow();
})();
