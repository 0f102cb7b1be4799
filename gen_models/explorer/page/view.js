/* What all parts share: the worker, the models, and how images are shown. */

const content = JSON.parse(document.getElementById("content").textContent);
const { models } = content;
const PIXELS = 28 * 28;
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

/* Images of n latents. */
async function decode(model, z, n = 1) {
  const { output, milliseconds } = await run(model.decode, [Float32Array.from(z)], n);
  if (n > 1) showSpeed(model, 1000 * n / milliseconds);
  return output;
}

const speeds = new Map();
function showSpeed(model, speed) {
  speeds.set(model.title, speed);
  const parts = [...speeds].map(([title, each]) =>
    `${Math.round(each).toLocaleString("en")} images a second with ${title}`);
  $("speed").textContent = parts.join(", ");
}

/* Probabilities of the ten classes for n images, or null without a classifier. */
async function classify(images, n = 1) {
  if (content.classifier === null) return null;
  const { output } = await run(content.classifier, [images], n);
  const rows = [];
  for (let i = 0; i < n; i++) {
    const logits = output.slice(10 * i, 10 * i + 10), top = Math.max(...logits);
    const weights = Array.from(logits, (logit) => Math.exp(logit - top));
    const sum = weights.reduce((a, b) => a + b);
    rows.push(weights.map((weight) => weight / sum));
  }
  return rows;
}

const likeliest = (chances) => chances.indexOf(Math.max(...chances));
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
  return make("canvas", { className, width: 28, height: 28, role: "img", ariaLabel: label });
}

/* Draw 784 numbers in [0, 1]. */
function show(canvas, image) {
  const pixels = new ImageData(28, 28);
  for (let i = 0; i < PIXELS; i++) {
    pixels.data.fill(Math.round(255 * image[i]), 4 * i, 4 * i + 3);
    pixels.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/* One large image and what the classifier sees in it; returns how to show another. */
function viewer(parent, label) {
  const canvas = picture("large", label), bars = make("div", { className: "bars", ariaHidden: "true" });
  const seen = make("div", { className: "seen" });
  for (let digit = 0; digit < 10; digit++) bars.append(make("span", {}, make("i"), String(digit)));
  const side = make("div", {}, seen, bars);
  side.hidden = content.classifier === null;
  parent.append(make("div", { className: "view" }, canvas, side));
  const read = latest(async (image) => {
    const rows = await classify(image);
    if (!rows) return;
    const [chances] = rows, digit = likeliest(chances);
    seen.textContent = `The classifier sees a ${digit} (${percent(chances[digit])}).`;
    [...bars.children].forEach((bar, i) => {
      bar.firstChild.style.setProperty("--p", chances[i].toFixed(3));
      bar.classList.toggle("top", i === digit);
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
  parent.classList.add(models.length === 1 ? "one" : "two");
  return models.map((model) => {
    const column = make("div", {}, make("h3", {}, model.title));
    parent.append(column);
    return column;
  });
}

/* The test images of the page, 784 numbers each. */
async function readTestImages() {
  const image = new Image();
  image.src = content.sprite;
  await image.decode();
  const canvas = make("canvas", { width: image.width, height: image.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data, width } = context.getImageData(0, 0, image.width, image.height);
  return content.labels.map((label, index) => {
    const left = 28 * (index % content.columns), top = 28 * Math.floor(index / content.columns);
    return Float32Array.from({ length: PIXELS }, (_, i) =>
      data[4 * ((top + Math.floor(i / 28)) * width + left + i % 28)] / 255);
  });
}
const testImages = readTestImages();

/* Runs once, when an element is about to be seen. */
function whenSeen(element, action) {
  const observer = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    action();
  }, { rootMargin: "100px" });
  observer.observe(element);
}
