/* A pad to draw on. The strokes become an image like those of the data set: the digit fits the
   square that they usually fill, as 20 of 28 pixels in MNIST, and its centre of mass is the centre
   of the image, as far as the digit stays within the frame. */

const PEN = 0.12 * content.box; // pixels; in MNIST's box about the width of its strokes
const FINE = 8; // drawn so many times larger, then averaged, for grey edges
const strokes = []; // each a list of [x, y] in [0, 1]
let pen = null; // the id of the pointer that draws

function drawStrokes(context, place, width) {
  Object.assign(context, { lineWidth: width, lineCap: "round", lineJoin: "round" });
  context.strokeStyle = "#fff";
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach((point, i) => context[i ? "lineTo" : "moveTo"](...place(point)));
    if (stroke.length === 1) context.lineTo(...place(stroke[0])); // a dot
    context.stroke();
  }
}

/* 28 x 28 pixels, each the mean of what is drawn in it. */
function rasterise(place) {
  const canvas = make("canvas", { width: 28 * FINE, height: 28 * FINE });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  drawStrokes(context, (point) => place(point).map((v) => FINE * v), FINE * PEN);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const image = new Float32Array(PIXELS);
  for (let i = 0; i < data.length / 4; i++) {
    const row = Math.floor(i / canvas.width / FINE), column = Math.floor(i % canvas.width / FINE);
    image[28 * row + column] += data[4 * i + 3] / 255 / FINE ** 2; // opacity
  }
  return image;
}

function asDigit() {
  const [xs, ys] = [0, 1].map((axis) => strokes.flat().map((point) => point[axis]));
  const ends = [xs, ys].map((values) => [Math.min(...values), Math.max(...values)]);
  const longest = Math.max(...ends.map(([low, high]) => high - low));
  const scale = longest > 0.02 ? (content.box - PEN) / longest : 28; // a dot stays one
  const middle = ends.map(([low, high]) => (low + high) / 2);
  const placed = (shift) => ([x, y]) =>
    [(x - middle[0]) * scale + 14 + shift[0], (y - middle[1]) * scale + 14 + shift[1]];
  const first = rasterise(placed([0, 0]));
  let mass = 0, x = 0, y = 0;
  first.forEach((value, i) => {
    mass += value;
    x += value * (i % 28 + 0.5);
    y += value * (Math.floor(i / 28) + 0.5);
  });
  return rasterise(placed([x, y].map((moment, axis) => {
    const [low, high] = ends[axis], room = 14 - (scale * (high - low) + PEN) / 2;
    return Math.max(-room, Math.min(room, 14 - moment / mass));
  })));
}

const pad = $("pad"), padContext = pad.getContext("2d");

function redrawPad() {
  padContext.clearRect(0, 0, pad.width, pad.height);
  drawStrokes(padContext, ([x, y]) => [x * pad.width, y * pad.height], pad.width / 13);
}

function penAt(event) {
  const box = pad.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

/* Calls `useDrawing` with the image after each stroke. */
function watchPad(useDrawing) {
  pad.onpointerdown = (event) => {
    if (pen !== null) return;
    pen = event.pointerId;
    pad.setPointerCapture(pen);
    strokes.push([penAt(event)]);
    redrawPad();
  };
  pad.onpointermove = (event) => {
    if (event.pointerId !== pen) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) strokes.at(-1).push(penAt(each));
    redrawPad();
  };
  pad.onpointerup = pad.onpointercancel = (event) => {
    if (event.pointerId !== pen) return;
    pen = null;
    useDrawing(asDigit());
  };
}

function clearPad() {
  strokes.length = 0;
  pen = null; // a stroke that has begun ends
  redrawPad();
}
