/* A pad to draw on, for grey images. The strokes become an image like those of the data set: the
   drawing fits the box that they usually fill, as 20 of 28 pixels in MNIST, and its centre of mass
   is the centre of the image, as far as the drawing stays within the frame. */

const BOX = [...content.box].reverse(); // pixels, width first
const PEN = 0.12 * Math.min(...BOX); // in MNIST's box about the width of its strokes
const FINE = 8; // drawn so many times larger, then averaged, for grey edges
const strokes = []; // each a list of [x, y] in [0, 1]
const INK = content.light ? "#000" : "#fff";
let pen = null; // the id of the pointer that draws

function drawStrokes(context, place, width) {
  Object.assign(context, { lineWidth: width, lineCap: "round", lineJoin: "round" });
  context.strokeStyle = INK;
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach((point, i) => context[i ? "lineTo" : "moveTo"](...place(point)));
    if (stroke.length === 1) context.lineTo(...place(stroke[0])); // a dot
    context.stroke();
  }
}

/* How much of each pixel is drawn on, in [0, 1]. */
function rasterise(place) {
  const canvas = make("canvas", { width: WIDTH * FINE, height: HEIGHT * FINE });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  drawStrokes(context, (point) => place(point).map((v) => FINE * v), FINE * PEN);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const image = new Float32Array(AREA);
  for (let i = 0; i < data.length / 4; i++) {
    const row = Math.floor(i / canvas.width / FINE), column = Math.floor(i % canvas.width / FINE);
    image[WIDTH * row + column] += data[4 * i + 3] / 255 / FINE ** 2; // opacity
  }
  return image;
}

function asImage() {
  const frame = [WIDTH, HEIGHT], centre = frame.map((side) => side / 2);
  const ends = frame.map((side, axis) => {
    const values = strokes.flat().map((point) => side * point[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const lengths = ends.map(([low, high]) => high - low);
  const isDot = Math.max(...lengths) <= 0.02 * Math.max(...frame); // which stays one
  const scale = isDot ? 1 : Math.min(...lengths.map((length, axis) => (BOX[axis] - PEN) / length));
  const placed = (shift) => (point) => point.map((value, axis) => {
    const middle = (ends[axis][0] + ends[axis][1]) / 2;
    return (frame[axis] * value - middle) * scale + centre[axis] + shift[axis];
  });
  const first = rasterise(placed([0, 0]));
  let mass = 0, x = 0, y = 0;
  first.forEach((value, i) => {
    mass += value;
    x += value * (i % WIDTH + 0.5);
    y += value * (Math.floor(i / WIDTH) + 0.5);
  });
  const drawn = rasterise(placed([x, y].map((moment, axis) => {
    const room = centre[axis] - (scale * lengths[axis] + PEN) / 2;
    return Math.max(-room, Math.min(room, centre[axis] - moment / mass));
  })));
  return content.light ? drawn.map((value) => 1 - value) : drawn;
}

const pad = $("pad"), padContext = pad.getContext("2d");
pad.classList.toggle("light", content.light);

function redrawPad() {
  padContext.clearRect(0, 0, pad.width, pad.height);
  drawStrokes(padContext, ([x, y]) => [x * pad.width, y * pad.height], Math.min(pad.width, pad.height) / 13);
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
    useDrawing(asImage());
  };
}

function clearPad() {
  strokes.length = 0;
  pen = null; // a stroke that has begun ends
  redrawPad();
}
