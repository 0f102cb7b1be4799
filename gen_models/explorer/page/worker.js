/* Runs networks beside the page, so that it never freezes: forward, and the search for z. */

/* A network whose nodes hold their own numbers, taken from the weights of all networks. */
function withWeights(program, weights) {
  const nodes = program.nodes.map((node) => {
    const own = {};
    for (const [name, place] of Object.entries(node.weights)) {
      own[name] = weights.subarray(place.offset, place.offset + size(place.shape));
    }
    return { ...node, ...own, kernel: node.weights.weight?.shape };
  });
  return { ...program, nodes };
}

/* All values of a network for n rows: its inputs, then one for each node. */
function forward(program, inputs, n) {
  const values = [...inputs];
  for (const node of program.nodes) {
    values.push(OPS[node.op].forward(node, node.inputs.map((place) => values[place]), n));
  }
  return values;
}

/* The gradient of the first input, from that of the output. */
function backward(program, values, dy, n) {
  const slopes = [];
  slopes[program.output] = dy;
  for (let i = program.nodes.length - 1; i >= 0; i--) {
    const node = program.nodes[i], place = program.inputs + i;
    if (!slopes[place]) continue;
    const inputs = node.inputs.map((input) => values[input]);
    const parts = OPS[node.op].backward(node, inputs, values[place], slopes[place], n);
    node.inputs.forEach((input, k) => {
      slopes[input] = slopes[input] ? slopes[input].map((v, j) => v + parts[k][j]) : parts[k];
    });
  }
  return slopes[0];
}

/* The images of n latents, their mean squared errors, and the errors' gradient by z. */
function gradient(program, z, target, n) {
  const values = forward(program, [z], n), images = values[program.output];
  const pixels = target.length, dy = new Float32Array(images.length), errors = new Float64Array(n);
  for (let i = 0; i < images.length; i++) {
    const difference = images[i] - target[i % pixels];
    errors[Math.floor(i / pixels)] += difference * difference / pixels;
    dy[i] = 2 * difference / pixels;
  }
  return { images, errors, dz: backward(program, values, dy, n) };
}

/* Moves one z back into the reach of its prior: into the box, then into the ball. */
function hold(z, { radius, coordinate }) {
  const inside = z.map((v) => Math.max(-coordinate, Math.min(coordinate, v)));
  const share = Math.min(1, radius / Math.hypot(...inside));
  return inside.map((v) => v * share);
}

/* The gradient at z without the part that leads out of the ball. */
function tangent(z, slope, { radius }) {
  const length = Math.hypot(...z), along = z.reduce((sum, v, i) => sum + v * slope[i], 0);
  if (along >= 0 || length <= 0.999 * radius) return slope;
  return slope.map((v, i) => v - along / length ** 2 * z[i]);
}

/* Adam (Kingma & Ba 2015) on z from several starts, its rate falling to 0 along a cosine.

   As `invert` of gen_models/metrics/reconstruction.py: z is held within the prior's `reach`; its
   last `fixed` coordinates, a label, stay. `watch` gets each step's best image, and may stop it. */
async function invert({ program, target, starts, n, steps, rate, reach, fixed }, watch) {
  const z = Float32Array.from(starts), width = z.length / n, free = width - fixed;
  const mean = new Float64Array(z.length), square = new Float64Array(z.length);
  const pixels = target.length;
  for (let step = 0; ; step++) {
    const { images, errors, dz } = gradient(program, z, target, n);
    const best = errors.indexOf(Math.min(...errors));
    const result = {
      step, steps, mse: errors[best],
      image: images.slice(best * pixels, (best + 1) * pixels),
      z: z.slice(best * width, (best + 1) * width),
    };
    if (step === steps || !await watch(result)) return result;
    const share = 0.5 * (1 + Math.cos(Math.PI * step / steps));
    for (let start = 0; start < z.length; start += width) {
      const row = z.subarray(start, start + free);
      tangent(row, dz.subarray(start, start + free), reach).forEach((slope, k) => {
        const i = start + k;
        mean[i] = 0.9 * mean[i] + 0.1 * slope;
        square[i] = 0.999 * square[i] + 0.001 * slope * slope;
        const first = mean[i] / (1 - 0.9 ** (step + 1));
        const second = square[i] / (1 - 0.999 ** (step + 1));
        z[i] -= share * rate * first / (Math.sqrt(second) + 1e-8);
      });
      row.set(hold(row, reach));
    }
  }
}

/* Lets the worker answer other questions. */
const pause = () => new Promise((resume) => { setTimeout(resume); });

/* What a step adds to x, for each solver, from the velocity at x and a time. */
const SOLVERS = {
  euler: (velocity, x, t, step) => velocity(x, t).map((v) => step * v),
  midpoint(velocity, x, t, step) {
    const slope = velocity(x, t), middle = x.map((v, i) => v + step / 2 * slope[i]);
    return velocity(middle, t + step / 2).map((v) => step * v);
  },
  heun(velocity, x, t, step) {
    const slope = velocity(x, t), end = x.map((v, i) => v + step * slope[i]);
    return velocity(end, t + step).map((v, i) => step / 2 * (v + slope[i]));
  },
};

/* Follows the velocity of n rows from one time to another; `watch` gets x at the start and after
   each step. */
async function solve({ program, x, columns, n, start, end, solver, steps }, watch) {
  const step = (end - start) / steps;
  const velocity = (at, t) =>
    forward(program, [at, new Float32Array(n).fill(t), columns], n)[program.output];
  await watch(x);
  for (let k = 0; k < steps; k++) {
    const change = SOLVERS[solver](velocity, x, start + k * step, step);
    x = x.map((v, i) => v + change[i]);
    await watch(x);
  }
  return x;
}

/* `count` draws of a model's prior and their images. */
async function candidates(program, model, label, count) {
  const z = prior(model, uniforms(1), count, label), step = 20;
  let images = null;
  for (let start = 0; start < count; start += step) {
    const rows = z.subarray(start * model.latent, (start + step) * model.latent);
    const drawn = forward(program, [rows], step)[program.output];
    images ??= new Float32Array(drawn.length / step * count);
    images.set(drawn, drawn.length / step * start);
    await pause();
  }
  return { z, images };
}

/* The z of the `n` draws whose images are nearest to the target, one after the other. */
function nearestDraws({ z, images }, target, n, latent) {
  const pixels = target.length;
  const distances = Array.from({ length: z.length / latent }, (_, row) =>
    target.reduce((sum, v, i) => sum + (v - images[row * pixels + i]) ** 2, 0));
  const order = [...distances.keys()].sort((a, b) => distances[a] - distances[b]).slice(0, n);
  return order.flatMap((row) => [...z.subarray(row * latent, (row + 1) * latent)]);
}

/* 16-bit floats, in base64, as 32-bit ones. */
function unpack(base64) {
  const text = atob(base64), numbers = new Float32Array(text.length / 2);
  const values = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    values[bits] = sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15)
      : fraction * 2 ** -24);
  }
  for (let i = 0; i < numbers.length; i++) {
    numbers[i] = values[text.charCodeAt(2 * i) | (text.charCodeAt(2 * i + 1) << 8)];
  }
  return numbers;
}

/* What the page may ask for; each answer carries the number of its question. */
function answer() {
  let programs = [];
  const stopped = new Set(), drawn = new Map(); // of each network, the draws of one label
  const tasks = {
    load(id, { networks, base64 }) {
      const weights = unpack(base64);
      programs = networks.map((program) => withWeights(program, weights));
    },
    run(id, { network, inputs, n }) {
      const start = performance.now(), program = programs[network];
      const output = forward(program, inputs, n)[program.output];
      return { output, milliseconds: performance.now() - start };
    },
    async solve(id, { network, ...rest }) {
      let milliseconds = 0, begin = performance.now();
      const program = programs[network];
      const output = await solve({ program, ...rest }, async (progress) => {
        milliseconds += performance.now() - begin;
        postMessage({ id, progress });
        await pause();
        begin = performance.now();
      });
      return { output, milliseconds };
    },
    async invert(id, { network, model, label, target, n, count, steps, rate }) {
      const program = programs[network];
      if (drawn.get(network)?.label !== label) {
        drawn.set(network, { label, draws: candidates(program, model, label, count) });
      }
      const starts = nearestDraws(await drawn.get(network).draws, target, n, model.latent);
      const search = { program, target, starts, n, steps, rate, reach: model.reach };
      return invert({ ...search, fixed: model.classes }, async (progress) => {
        postMessage({ id, progress });
        await pause();
        return !stopped.delete(id);
      });
    },
    stop(id, { which }) { stopped.add(which); },
  };
  self.onmessage = async ({ data: { id, task, ...rest } }) => {
    try {
      postMessage({ id, result: await tasks[task](id, rest) });
    } catch (error) {
      postMessage({ id, error: String(error) });
    }
  };
}
