/* An image, drawn or of the test images, and how each model recreates it. */

const CANDIDATES = 400, RESTARTS = 4, STEPS = 200, RATE = 0.05;
const PICKS = 20; // test images in place of the pad
let target = null; // numbers in [0, 1]
let targetNumber = 0; // counts the targets, so that a late answer is dropped

const meanSquare = (a, b) => a.reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0) / a.length;

let turn = Promise.resolve(); // one search at a time, so that each is fast to watch

/* Finds z for an image: with an encoder, with the way back to the noise, or else with a search that
   `watch` follows. */
function latentOf(model, image, watch) {
  let search = null, stopped = false, finish = () => {};
  const z = (async () => {
    let label = null;
    if (model.classes) { // a test image's own; for a drawing the classifier's, else the first
      label = content.labels[(await testImages).indexOf(image)]
        ?? likeliest((await classify(image))?.[0] ?? [1]);
    }
    if (model.encode !== null) {
      const inputs = model.classes ? [image, Float32Array.of(label)] : [image];
      return (await run(model.encode, inputs, 1)).output;
    }
    if (model.flow) return followBack(model, image, label);
    await loaded;
    const before = turn;
    turn = new Promise((done) => { finish = done; });
    await before;
    if (stopped) return null;
    search = ask("invert", {
      network: model.decode, model, label, target: image, n: RESTARTS, count: CANDIDATES,
      steps: STEPS, rate: RATE,
    }, watch);
    return (await search).z;
  })().finally(() => finish());
  return { z, stop: () => { stopped = true; search?.stop(); } };
}

const heading = make("h3", {}, `Your ${thing}`), input = make("div", {}, heading);
$("recreated").append(input);
const showTarget = viewer(input, `Your ${thing}`);
const recreations = columns($("recreated")).map((column, index) => {
  const model = models[index], display = viewer(column, `${model.title}: recreated`, "searching…");
  const progress = make("progress", { max: STEPS, value: 0, ariaLabel: "Steps of the search" });
  progress.hidden = !searches(model);
  const status = make("div", { className: "status" });
  column.append(progress, status);
  return { display, progress, status, job: null };
});

function wayOf(model) {
  if (searches(model)) return `with a search of ${STEPS} steps`;
  return model.flow ? "with its equation solved backwards" : "with its encoder";
}

async function recreate(index, number) {
  const model = models[index], part = recreations[index], image = target;
  part.job?.stop();
  if (searches(model)) part.status.textContent = "searching…";
  part.job = latentOf(model, image, ({ step, mse, image: best }) => {
    if (number !== targetNumber) return;
    part.display(best, step % 10 === 0);
    part.progress.value = step;
    part.status.textContent = `MSE ${mse.toFixed(4)}, step ${step} of ${STEPS}`;
  });
  const z = await part.job.z;
  if (number !== targetNumber || !z) return;
  const recreated = await decode(model, z);
  if (number !== targetNumber) return;
  part.display(recreated);
  part.progress.value = STEPS;
  const mse = `MSE ${meanSquare(recreated, image).toFixed(4)}`;
  part.status.textContent = `${mse}, ${wayOf(model)}; z has ${model.latent - model.classes} numbers`;
}

function setTarget(image) {
  target = image;
  targetNumber++;
  showTarget(image);
  models.forEach((_, index) => recreate(index, targetNumber));
}

/* The index of a test image, or null for a drawing. */
function setPicked(index) {
  mark(index);
  picks.forEach((button, i) => { button.ariaPressed = String(i === index); });
  const label = thing === "digit" ? null : content.labels?.[index];
  heading.textContent = `Your ${thing}${label == null ? "" : `: ${names[label]}`}`;
}

async function setTestImage(index) {
  const image = (await testImages)[index];
  clearPad();
  setPicked(index);
  setTarget(image);
}

const picks = CHANNELS === 1 ? [] : Array.from({ length: Math.min(PICKS, content.count) }, (_, i) => {
  const canvas = picture("tile", "");
  testImages.then((images) => show(canvas, images[i]));
  const button = make("button", { ariaLabel: `Test image ${i + 1}`, ariaPressed: "false" }, canvas);
  button.onclick = () => setTestImage(i);
  return button;
});
$("picks").append(...picks);
watchPad((image) => { setPicked(null); setTarget(image); });
watchMap(setTestImage);
$("clear").onclick = () => { clearPad(); };
$("random").onclick = () => setTestImage(anyIndex());
whenSeen($("recreate"), async () => {
  await testImages;
  if (!target && !strokes.length) setTestImage(0);
});
