/* What all parts share: the worker, the models, and how images are shown. */

const content = JSON.parse(document.getElementById("content").textContent);
const { models, names, thing } = content; // a thing is a "digit" or an "image"
const [CHANNELS, HEIGHT, WIDTH] = content.shape;
const AREA = HEIGHT * WIDTH, PIXELS = CHANNELS * AREA; // numbers of an image, channel by channel
const ALL_BARS = 10, TOP = 5; // classes of which each has a bar, else the likeliest have
const $ = (id) => document.getElementById(id);

/* The worker answers by number; `watch` gets what it reports on the way. */
const code = [document.getElementById("worker").textContent, "answer();"];
const worker = new Worker(URL.createObjectURL(new Blob(code, { type: "text/javascript" })));
const waiting = new Map();
let asked = 0;

function ask(task, details, watch) {
  const id = ++asked;
  const promise = new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject, watch });
  });
  worker.postMessage({ id, task, ...details });
  return Object.assign(promise, { stop: () => ask("stop", { which: id }) });
}

worker.onmessage = ({ data: { id, progress, result, error } }) => {
  const { resolve, reject, watch } = waiting.get(id);
  if (progress) { watch(progress); return; }
  waiting.delete(id);
  if (error) reject(new Error(error)); else resolve(result);
};

function fail(message) {
  $("error").textContent = `Something went wrong: ${message}`;
  $("error").hidden = false;
}
worker.onerror = (event) => fail(event.message);
addEventListener("unhandledrejection", (event) => fail(event.reason.message));

const loaded = ask("load", { networks: content.networks, base64: content.weights });

async function run(network, inputs, n) {
  await loaded;
  return ask("run", { network, inputs, n });
}

/* Images of n latents; `watch` gets them on the way where there is one. */
async function decode(model, z, n = 1, watch) {
  const latents = Float32Array.from(z);
  const { output, milliseconds } = await (model.flow
    ? followToImages(model, latents, n, watch) : run(model.decode, [latents], n));
  if (n > 1) showSpeed(model, 1000 * n / milliseconds);
  return output;
}

/* Whether the z of an image must be searched for. */
const searches = (model) => model.encode === null && !model.flow;

const speeds = new Map();
function showSpeed(model, speed) {
  speeds.set(model.title, speed);
  const parts = [...speeds].map(([title, each]) =>
    `${Math.round(each).toLocaleString("en")} images a second with ${title}`);
  $("speed").textContent = parts.join(", ");
}

/* Probabilities of the classes for n images, or null without a classifier. */
async function classify(images, n = 1) {
  if (content.classifier === null) return null;
  const { output } = await run(content.classifier, [images], n);
  const rows = [];
  for (let i = 0; i < n; i++) {
    const logits = output.slice(names.length * i, names.length * (i + 1));
    const top = Math.max(...logits);
    const weights = Array.from(logits, (logit) => Math.exp(logit - top));
    const sum = weights.reduce((a, b) => a + b);
    rows.push(weights.map((weight) => weight / sum));
  }
  return rows;
}

const likeliest = (chances) => chances.indexOf(Math.max(...chances));
/* A class in a sentence. */
const called = (label) => (thing === "digit" ? `a ${names[label]}` : `“${names[label]}”`);
/* What marks a class where there is little room: its name, or its number among the names. */
const longest = Math.max(0, ...names.map((name) => name.length));
const namesAreMarks = longest < 4;
const markOf = (label) => (namesAreMarks ? names[label] : String(label + 1));
const percent = (share) => `${Math.round(100 * share)} %`;

/* An element with properties, and children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value; else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function picture(className, label) {
  return make("canvas", { className, width: WIDTH, height: HEIGHT, role: "img", ariaLabel: label });
}

/* Draw numbers in [0, 1], those of all channels one after the other. */
function show(canvas, image) {
  const pixels = new ImageData(WIDTH, HEIGHT);
  for (let i = 0; i < AREA; i++) {
    for (let color = 0; color < 3; color++) { // all the same where there is one channel
      pixels.data[4 * i + color] = Math.round(255 * image[color % CHANNELS * AREA + i]);
    }
    pixels.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/* One large image and what the classifier sees in it, at first a word; returns how to show another
   image. */
function viewer(parent, label, waiting = "") {
  const each = longest < 3 && names.length <= ALL_BARS; // an upright bar for each class
  const canvas = picture("large", label);
  const seen = make("div", { className: "seen" }, waiting);
  const bars = make("div", { className: each ? "bars" : "bars rows", ariaHidden: "true" });
  const count = each ? names.length : Math.min(TOP, names.length);
  for (let i = 0; i < count; i++) bars.append(make("span", {}, make("i"), make("b")));
  const side = make("div", {}, seen, bars);
  side.hidden = content.classifier === null;
  parent.append(make("div", { className: "view" }, canvas, side));
  const read = latest(async (image) => {
    const rows = await classify(image);
    if (!rows) return;
    const [chances] = rows, best = likeliest(chances), order = [...chances.keys()];
    if (!each) order.sort((a, b) => chances[b] - chances[a]);
    seen.textContent = `The classifier sees ${called(best)} (${percent(chances[best])}).`;
    [...bars.children].forEach((bar, i) => {
      const label = order[i];
      bar.firstChild.style.setProperty("--p", chances[label].toFixed(3));
      bar.lastChild.textContent = names[label];
      bar.classList.toggle("top", label === best);
    });
  });
  return (image, reading = true) => {
    show(canvas, image);
    if (reading) read(image);
  };
}

/* Calls an asynchronous function again only after it has returned, and then with the arguments of
   the last call: a slider asks for more images than can be computed. */
function latest(action) {
  let busy = false, next = null;
  return async (...latestArguments) => {
    next = latestArguments;
    if (busy) return;
    busy = true;
    try {
      while (next) {
        const now = next;
        next = null;
        await action(...now);
      }
    } finally {
      busy = false;
    }
  };
}

/* A column for each model, with its title. */
function columns(parent) {
  parent.classList.add(["one", "two", "three"][models.length - 1]);
  return models.map((model) => {
    const column = make("div", {}, make("h3", {}, model.title));
    parent.append(column);
    return column;
  });
}

/* The test images of the page, side by side, and where each begins. */
const sheet = new Image();
sheet.src = content.sprite;
const cornerOf = (index) =>
  [WIDTH * (index % content.columns), HEIGHT * Math.floor(index / content.columns)];

/* The test images as numbers. */
async function readTestImages() {
  await sheet.decode();
  const canvas = make("canvas", { width: sheet.width, height: sheet.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(sheet, 0, 0);
  const { data, width } = context.getImageData(0, 0, sheet.width, sheet.height);
  return Array.from({ length: content.count }, (_, index) => {
    const [left, top] = cornerOf(index), image = new Float32Array(PIXELS);
    for (let i = 0; i < PIXELS; i++) {
      const row = top + Math.floor(i % AREA / WIDTH), column = left + i % WIDTH;
      image[i] = data[4 * (row * width + column) + Math.floor(i / AREA)] / 255;
    }
    return image;
  });
}
const testImages = readTestImages();
const anyIndex = () => Math.floor(Math.random() * content.count);

/* Runs once, when an element is about to be seen. */
function whenSeen(element, action) {
  const observer = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    action();
  }, { rootMargin: "100px" });
  observer.observe(element);
}
