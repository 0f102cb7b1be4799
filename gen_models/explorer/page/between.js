/* From one image to another, through the latents of each model. */

const STATIONS = 11;
const ends = [null, null]; // images
let endsNumber = 0;

const paths = columns($("paths")).map((column, index) => {
  const strip = make("div", { className: "strip" });
  const stations = Array.from({ length: STATIONS }, () => picture("tile", ""));
  strip.append(...stations);
  column.append(strip);
  const display = viewer(column, `${models[index].title}: between the two ${thing}s`, "searching…");
  const status = make("div", { className: "status" });
  column.append(status);
  return { stations, display, status, jobs: [], z: [] };
});

const sphere = () => document.querySelector("input[name=path]:checked").value === "sphere";

const walks = models.map((model, index) => latest(async () => {
  const { stations, z } = paths[index];
  if (z.length < 2) return;
  const points = stations.map((_, i) => [...pathPoint(...z, i / (STATIONS - 1), sphere())]);
  const images = await decode(model, points.flat(), STATIONS);
  stations.forEach((canvas, i) => show(canvas, images.subarray(PIXELS * i, PIXELS * (i + 1))));
}));

const stops = models.map((model, index) => latest(async () => {
  const { display, z } = paths[index];
  if (z.length < 2) return;
  display(await decode(model, pathPoint(...z, Number($("share").value), sphere())));
}));

function walk(index) { walks[index](); stops[index](); }

async function findEnds(index, number) {
  const part = paths[index], model = models[index];
  part.jobs.forEach((job) => job.stop());
  part.jobs = [];
  if (searches(model)) part.status.textContent = "searching…";
  const z = [];
  for (const [k, image] of ends.entries()) {
    const job = latentOf(model, image, ({ step, image: best }) => {
      if (number !== endsNumber) return;
      part.display(best, step % 10 === 0);
      part.status.textContent = `searching for the ${k ? "right" : "left"} end, step ${step} of ${STEPS}`;
    });
    part.jobs.push(job);
    z.push(await job.z);
    if (number !== endsNumber) return;
  }
  part.z = z;
  part.status.textContent = "";
  walk(index);
}

function setEnds(left, right) {
  [left, right].forEach((image, k) => { ends[k] = image ?? ends[k]; });
  show($("start"), ends[0]);
  show($("end"), ends[1]);
  endsNumber++;
  models.forEach((_, index) => findEnds(index, endsNumber));
}

async function otherEnds() {
  const images = await testImages, left = anyIndex();
  const rest = [...images.keys()].filter((index) => index !== left), { labels } = content;
  const others = labels ? rest.filter((index) => labels[index] !== labels[left]) : rest;
  const right = others[Math.floor(Math.random() * others.length)] ?? rest[0];
  setEnds(images[left], images[right]);
}

$("ends").onclick = otherEnds;
$("left").onclick = () => { if (target) setEnds(target, null); };
$("right").onclick = () => { if (target) setEnds(null, target); };
$("share").oninput = () => models.forEach((_, index) => stops[index]());
for (const option of document.getElementsByName("path")) {
  option.onchange = () => models.forEach((_, index) => walk(index));
}
whenSeen($("between"), () => { if (!ends[0]) otherEnds(); });
