/* Models that make an image by following their velocity from noise at t = 0 to t = 1. */

const toImages = (x) => x.map((v) => Math.max(0, Math.min(1, ((v + 1) * 128 - 0.5) / 255)));
const fromImages = (images) => images.map((v) => (255 * v + 0.5) / 128 - 1);

/* x at the end of n paths; `watch` gets it at the start and after each step. */
async function follow(model, x, columns, n, [start, end], watch = () => {}) {
  await loaded;
  const { network, ...method } = model.flow;
  return ask("solve", { network, x, columns, n, start, end, ...method }, watch);
}

/* Images of n latents; `watch` gets what they are on the way. */
async function followToImages(model, z, n, watch = () => {}) {
  const noise = new Float32Array(n * PIXELS), columns = new Float32Array(n * model.classes);
  for (let row = 0; row < n; row++) {
    const start = row * model.latent, middle = start + PIXELS;
    noise.set(z.subarray(start, middle), row * PIXELS);
    columns.set(z.subarray(middle, start + model.latent), row * model.classes);
  }
  const seen = (x) => watch(toImages(x));
  const { output, milliseconds } = await follow(model, noise, columns, n, [0, 1], seen);
  return { output: toImages(output), milliseconds };
}

/* The latent of an image, from which the model makes it again. */
async function followBack(model, image, label) {
  const columns = Float32Array.from({ length: model.classes }, (_, k) => Number(k === label));
  const { output } = await follow(model, fromImages(image), columns, 1, [1, 0]);
  return Float32Array.of(...output, ...columns);
}

/* A slider from noise to the picked image, the way of which it has all steps. */
function timePanel(column, display) {
  const strip = make("div", { className: "strip" }), output = make("output");
  const input = make("input", { type: "range", min: 0, max: 1, step: 0.01, value: 1 });
  const play = make("button", {}, "Play");
  column.append(make("label", { className: "slider" }, "time", input, output), strip, play);
  let path = [], playing = null;

  function move() {
    output.textContent = Number(input.value).toFixed(2);
    if (!path.length) return;
    const at = input.value * (path.length - 1), k = Math.min(Math.floor(at), path.length - 2);
    display(path[k].map((v, i) => v + (at - k) * (path[k + 1][i] - v)));
  }
  function stop() {
    cancelAnimationFrame(playing);
    playing = null;
  }
  input.oninput = () => { stop(); move(); };
  play.onclick = () => {
    stop();
    const begin = performance.now();
    const frame = (now) => {
      input.value = Math.max(0, Math.min(1, (now - begin) / 3000));
      move();
      playing = input.value < 1 ? requestAnimationFrame(frame) : null;
    };
    playing = requestAnimationFrame(frame);
  };
  move();
  return {
    pick(i, grid) {
      path = grid.path.map((images) => images.subarray(PIXELS * i, PIXELS * (i + 1)));
      strip.replaceChildren(...path.map((image) => {
        const tile = picture("tile", "");
        show(tile, image);
        return tile;
      }));
      move();
    },
    reset() { stop(); input.value = 1; move(); },
  };
}
