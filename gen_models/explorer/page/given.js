/* A given digit, drawn or from the map, and what each model makes of it. */

const CANDIDATES = 400, RESTARTS = 4, STEPS = 200, RATE = 0.05;
let given = null; // 784 numbers in [0, 1]
let giveNumber = 0; // counts them, so that a late answer is dropped

const meanSquare = (a, b) => a.reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0) / a.length;

let turn = Promise.resolve(); // searches wait for one another, so that each is fast to watch

/* Finds z for an image: at once by an encoder, else by a search that `watch` sees. */
function latentOf(model, image, watch) {
  let search = null, stopped = false, finish = () => {};
  const found = (async () => {
    let label = null;
    if (model.classes) { // a test image's own; of a drawn one, what the classifier sees, or 0
      label = content.labels[(await testImages).indexOf(image)]
        ?? likeliest((await classify(image))?.[0] ?? [1]);
    }
    if (model.encode !== null) {
      const inputs = model.classes ? [image, Float32Array.of(label)] : [image];
      return (await run(model.encode, inputs, 1)).output;
    }
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
  return { found, stop: () => { stopped = true; search?.stop(); } };
}

const input = make("div", {}, make("h3", {}, "The given digit"));
$("recreated").append(input);
const showGiven = viewer(input, "The given digit");
const recreations = columns($("recreated")).map((column, index) => {
  const model = models[index], display = viewer(column, `${model.title}: recreated`);
  const progress = make("progress", { max: STEPS, value: 0, ariaLabel: "Steps of the search" });
  progress.hidden = model.encode !== null;
  const status = make("div", { className: "status" });
  column.append(progress, status);
  return { display, progress, status, job: null };
});

async function recreate(index, number) {
  const model = models[index], part = recreations[index], image = given;
  part.job?.stop();
  if (model.encode === null) part.status.textContent = "drawing images to start from";
  part.job = latentOf(model, image, ({ step, mse, image: made }) => {
    if (number !== giveNumber) return;
    part.display(made, step % 10 === 0);
    part.progress.value = step;
    part.status.textContent = `MSE ${mse.toFixed(4)}, step ${step} of ${STEPS}`;
  });
  const z = await part.job.found;
  if (number !== giveNumber || !z) return;
  const made = await decode(model, z);
  if (number !== giveNumber) return;
  part.display(made);
  part.progress.value = STEPS;
  const way = model.encode === null ? `by a search of ${STEPS} steps` : "by its encoder";
  part.status.textContent = `MSE ${meanSquare(made, image).toFixed(4)}, ${way}`;
}

function give(image) {
  given = image;
  giveNumber++;
  showGiven(image);
  models.forEach((_, index) => recreate(index, giveNumber));
}

async function giveTest(index) {
  const image = (await testImages)[index];
  clearPad();
  mark(index);
  give(image);
}

watchPad((image) => { mark(null); give(image); });
watchMap(giveTest);
$("clear").onclick = () => { clearPad(); };
$("random").onclick = () => giveTest(Math.floor(Math.random() * content.labels.length));
whenSeen($("given"), async () => {
  await testImages;
  if (!given && !strokes.length) giveTest(0);
});
