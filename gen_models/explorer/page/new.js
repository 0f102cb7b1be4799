/* New images, and the sliders that change the picked one. */

const COUNT = 20;
const grids = columns($("grids")).map((column, index) => {
  const grid = make("div", { className: namesAreMarks ? "grid" : "grid named" });
  column.append(grid);
  const tiles = Array.from({ length: COUNT }, (_, i) => {
    const canvas = picture("tile", ""), verdict = make("span");
    verdict.hidden = content.classifier === null;
    const button = make("button", { ariaPressed: "false" }, canvas, verdict);
    button.onclick = () => pick(index, i);
    grid.append(button);
    return { button, canvas, verdict };
  });
  return { tiles, z: null, path: [] };
});

let wanted = null; // the class that a conditional model draws

const draws = models.map((model, index) => latest(async () => {
  const z = prior(model, uniforms(Number($("seed").value) || 0), COUNT, wanted);
  const { tiles } = grids[index], path = [];
  const showAll = (images) => tiles.forEach(({ canvas }, i) => {
    show(canvas, images.subarray(PIXELS * i, PIXELS * (i + 1)));
  });
  const images = await decode(model, z, COUNT, (drawn) => { path.push(drawn); showAll(drawn); });
  showAll(images);
  Object.assign(grids[index], { z, path });
  pick(index, 0);
  const chances = await classify(images, COUNT);
  tiles.forEach(({ button, verdict }, i) => {
    if (!chances) { button.ariaLabel = `Image ${i + 1}`; return; }
    const best = likeliest(chances[i]), share = chances[i][best];
    verdict.textContent = names[best];
    verdict.style.color = `color-mix(in srgb, var(--ink) ${percent(share)}, var(--line))`;
    button.ariaLabel = `Image ${i + 1}: ${called(best)}, ${percent(share)}`;
    button.title = `The classifier sees ${called(best)} (${percent(share)})`;
  });
}));
const drawAll = () => draws.forEach((draw) => draw());

$("draw").onclick = () => { $("seed").value = Number($("seed").value) + 1; drawAll(); };
$("seed").oninput = drawAll;

function want(label) {
  wanted = label;
  drawAll();
}

const choices = $("classes");
if (models.some((model) => model.classes)) {
  choices.append(thing === "digit" ? "digit " : "class ");
  if (names.length <= ALL_BARS) {
    const labels = [null, ...names.keys()];
    choices.append(...labels.map((label) => {
      const button = make("button", { ariaPressed: String(label === null) }, names[label] ?? "any");
      button.onclick = () => {
        for (const each of choices.children) each.ariaPressed = String(each === button);
        want(label);
      };
      return button;
    }));
  } else {
    const select = make("select", { ariaLabel: "Class to draw" });
    select.append(...["any", ...names].map((name) => make("option", {}, name)));
    select.onchange = () => want(select.selectedIndex ? select.selectedIndex - 1 : null);
    choices.append(select);
  }
  choices.hidden = false;
}

const kinds = models.filter((model) => !model.flow).map((model) => (model.encode === null
  ? `the outputs of ${model.title}'s first layer` : `the means of ${model.title}'s encoder`));
if (kinds.length) $("ways").textContent = kinds.join(" and ");

const STOPS = [-4, -2, 0, 2, 4]; // of a slider, in standard deviations: the images under it

/* Sliders that move the picked z along a model's directions. */
function directionPanel(model, column, display) {
  let z = null;
  const inputs = model.steps.map((step, k) => {
    const input = make("input", { type: "range", min: -4, max: 4, step: 0.1, value: 0 });
    const output = make("output", {}, "0.0");
    input.oninput = () => { output.textContent = Number(input.value).toFixed(1); move(); };
    const name = `${k + 1} (${percent(model.shares[k])})`;
    const tiles = STOPS.map(() => picture("tile", ""));
    const strip = make("div", { className: "strip" }, ...tiles);
    column.append(make("label", { className: "slider" }, name, input, output, strip));
    return { input, output, tiles };
  });
  const preview = latest(async () => { // what each slider alone does
    const moved = model.steps.flatMap((step) => STOPS.map((stop) => z.map((v, i) => v + stop * step[i])));
    const images = await decode(model, moved.flatMap((row) => [...row]), moved.length);
    inputs.flatMap(({ tiles }) => tiles).forEach((canvas, i) => {
      show(canvas, images.subarray(PIXELS * i, PIXELS * (i + 1)));
    });
  });
  const move = latest(async () => {
    if (!z) return;
    const moved = Float32Array.from(z);
    model.steps.forEach((step, k) => {
      step.forEach((number, i) => { moved[i] += number * inputs[k].input.value; });
    });
    display(await decode(model, moved));
  });
  return {
    pick(i, grid) { z = grid.z.slice(model.latent * i, model.latent * (i + 1)); move(); preview(); },
    reset() {
      for (const { input, output } of inputs) { input.value = 0; output.textContent = "0.0"; }
      move();
    },
  };
}

const panels = columns($("sliders")).map((column, index) => {
  const model = models[index], display = viewer(column, `${model.title}: the picked image`);
  return model.flow ? timePanel(column, display) : directionPanel(model, column, display);
});

function pick(index, i) {
  grids[index].tiles.forEach(({ button }, k) => { button.ariaPressed = String(k === i); });
  panels[index].pick(i, grids[index]);
}

$("reset").onclick = () => panels.forEach((panel) => panel.reset());

drawAll();
