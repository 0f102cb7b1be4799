/* The map: each test image is drawn as its class, or small without labels, placed by an encoder or
   by the classifier. */

const map = $("map"), MARGIN = 14;
const COLORS = 10; // of the page's style; further classes have the same again
const LEGEND = 20; // classes that a legend can list
const SMALL = 20; // the longer side of an image on the map, in CSS pixels
const colorOf = (label) => `--d${label % COLORS}`;
let chosen = null; // index of a test image

/* Where the test images are on the canvas, in CSS pixels. */
function mapPlaces() {
  const { points } = content, box = [map.clientWidth, map.clientHeight];
  const ends = [0, 1].map((axis) => {
    const values = points.map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  return points.map((point) => point.map((value, axis) => {
    const [low, high] = ends[axis], share = (value - low) / (high - low || 1);
    return MARGIN + (axis ? 1 - share : share) * (box[axis] - 2 * MARGIN);
  }));
}

function drawMap() {
  if (!content.points) return;
  const ratio = devicePixelRatio || 1, context = map.getContext("2d");
  map.width = map.clientWidth * ratio;
  map.height = map.clientHeight * ratio;
  context.scale(ratio, ratio);
  Object.assign(context, { textAlign: "center", textBaseline: "middle" });
  context.font = "600 13px system-ui, sans-serif";
  const style = getComputedStyle(document.documentElement), places = mapPlaces();
  const scale = SMALL / Math.max(WIDTH, HEIGHT), size = [WIDTH * scale, HEIGHT * scale];
  places.forEach(([x, y], i) => {
    context.globalAlpha = i === chosen ? 1 : 0.75;
    const label = content.labels?.[i];
    if (label === undefined) {
      const corner = [x - size[0] / 2, y - size[1] / 2];
      context.drawImage(sheet, ...cornerOf(i), WIDTH, HEIGHT, ...corner, ...size);
      return;
    }
    context.fillStyle = style.getPropertyValue(colorOf(label));
    context.fillText(markOf(label), x, y);
  });
  if (chosen === null) return;
  context.globalAlpha = 1;
  context.strokeStyle = style.getPropertyValue("--ink");
  context.lineWidth = 2;
  context.beginPath();
  context.arc(...places[chosen], 11, 0, 2 * Math.PI);
  context.stroke();
}

/* The index with the smallest cost. */
function smallest(costs) { return costs.indexOf(Math.min(...costs)); }

function nearestTo(x, y) {
  return smallest(mapPlaces().map((place) => Math.hypot(place[0] - x, place[1] - y)));
}

/* The nearest in one direction, within 45 degrees of it; the same if there is none. */
function neighbour([right, down]) {
  const places = mapPlaces(), [x, y] = places[chosen ?? 0];
  const costs = places.map((place, i) => {
    const ahead = (place[0] - x) * right + (place[1] - y) * down;
    const aside = Math.abs((place[0] - x) * down) + Math.abs((place[1] - y) * right);
    return i === chosen || ahead <= 0 || aside > ahead ? Infinity : Math.hypot(ahead, aside);
  });
  return Math.min(...costs) === Infinity ? chosen ?? 0 : smallest(costs);
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function mark(index) {
  chosen = index;
  drawMap();
}

/* Calls `pickImage` with the index of a test image that is clicked or reached with the arrow keys. */
function watchMap(pickImage) {
  if (!content.points) { $("map-figure").hidden = true; return; }
  const shares = content.mapShares.map(percent).join(" and ");
  $("map-caption").textContent = `Or click one of ${content.points.length} test images. The map shows `
    + `the two main components of ${content.map} (${shares} of the variance).`;
  if (!namesAreMarks && names.length <= LEGEND) {
    $("legend").append(...names.map((name, label) => {
      const key = make("span", {}, make("b", {}, markOf(label)), ` ${name}`);
      key.firstChild.style.color = `var(${colorOf(label)})`;
      return key;
    }));
  }
  testImages.then(drawMap);
  map.onclick = ({ offsetX, offsetY }) => pickImage(nearestTo(offsetX, offsetY));
  map.onkeydown = (event) => {
    if (!(event.key in ARROWS)) return;
    event.preventDefault();
    pickImage(neighbour(ARROWS[event.key]));
  };
  new ResizeObserver(drawMap).observe(map);
  matchMedia("(prefers-color-scheme: dark)").onchange = drawMap;
}
