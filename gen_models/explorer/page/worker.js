/* Runs networks next to the page, so that it never stands still: forward, and the search of z. */

/* A network's nodes with their numbers, out of the weights of all networks. */
function withWeights(program, weights) {
  const nodes = program.nodes.map((node) => {
    const held = {};
    for (const [name, place] of Object.entries(node.weights)) {
      if (place) held[name] = weights.subarray(place.offset, place.offset + size(place.shape));
    }
    return { ...node, ...held, kernel: node.weights.weight?.shape };
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
    const found = OPS[node.op].backward(node, inputs, values[place], slopes[place], n);
    node.inputs.forEach((input, k) => {
      slopes[input] = slopes[input] ? slopes[input].map((v, j) => v + found[k][j]) : found[k];
    });
  }
  return slopes[0];
}

/* The images of n latents, their mean squared errors, and the errors' gradient by z. */
function gradient(program, z, target, n) {
  const values = forward(program, [z], n), made = values[program.output];
  const pixels = target.length, dy = new Float32Array(made.length), errors = new Float64Array(n);
  for (let i = 0; i < made.length; i++) {
    const difference = made[i] - target[i % pixels];
    errors[Math.floor(i / pixels)] += difference * difference / pixels;
    dy[i] = 2 * difference / pixels;
  }
  return { made, errors, dz: backward(program, values, dy, n) };
}

/* Adam (Kingma & Ba 2015) on z from several starts, its rate falling to 0 along a cosine.

   z is held where the prior has its mass. Of a normal prior, coordinates beyond the limit are
   drawn anew in the first half; the last `fixed` coordinates, a label, stay. As `invert` of
   gen_models/metrics/reconstruction.py. `watch` gets each step's best image. */
async function invert({ program, target, starts, n, steps, rate, limit, redraw, fixed }, watch) {
  const z = Float32Array.from(starts), width = z.length / n, pixels = target.length;
  const mean = new Float64Array(z.length), square = new Float64Array(z.length);
  for (let step = 0; ; step++) {
    const { made, errors, dz } = gradient(program, z, target, n);
    const best = errors.indexOf(Math.min(...errors));
    const found = {
      step, steps, mse: errors[best],
      image: made.slice(best * pixels, (best + 1) * pixels),
      z: z.slice(best * width, (best + 1) * width),
    };
    if (step === steps || !await watch(found)) return found;
    const share = 0.5 * (1 + Math.cos(Math.PI * step / steps));
    for (let i = 0; i < z.length; i++) {
      if (i % width >= width - fixed) continue;
      mean[i] = 0.9 * mean[i] + 0.1 * dz[i];
      square[i] = 0.999 * square[i] + 0.001 * dz[i] * dz[i];
      const first = mean[i] / (1 - 0.9 ** (step + 1));
      const second = square[i] / (1 - 0.999 ** (step + 1));
      z[i] -= share * rate * first / (Math.sqrt(second) + 1e-8);
      if (redraw && share > 0.5 && Math.abs(z[i]) > limit) z[i] = gaussian(Math.random);
      z[i] = Math.max(-limit, Math.min(limit, z[i]));
    }
  }
}

/* 16-bit floats, in base64, as 32-bit ones. */
function unpack(base64) {
  const text = atob(base64), numbers = new Float32Array(text.length / 2);
  const known = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    known[bits] = sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15)
      : fraction * 2 ** -24);
  }
  for (let i = 0; i < numbers.length; i++) {
    numbers[i] = known[text.charCodeAt(2 * i) | (text.charCodeAt(2 * i + 1) << 8)];
  }
  return numbers;
}

/* What the page may ask for; each answer carries the number of its question. */
function answer() {
  let programs = [];
  const stopped = new Set();
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
    invert(id, { network, ...search }) {
      return invert({ program: programs[network], ...search }, async (found) => {
        postMessage({ id, found });
        await new Promise((resume) => { setTimeout(resume); }); // lets other questions in
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
