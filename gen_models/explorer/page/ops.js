/* The operations of a network by torch's names, forward and backward, for n images at once.

   A value is a Float32Array of n rows. A node knows the shape of a row of its first input (`from`)
   and of its result (`shape`), its weights (`weight`, with `kernel`, its shape) and torch's other
   arguments. A new operation needs an entry here and one in graph.py. */

const size = (shape) => shape.reduce((a, b) => a * b, 1);

/* An operation on each number alone: its value, and its slope at x, where it has the value y. */
function pointwise(value, slope) {
  return {
    forward(node, [x]) {
      const y = new Float32Array(x.length);
      for (let i = 0; i < x.length; i++) y[i] = value(x[i], node);
      return y;
    },
    backward(node, [x], y, dy) {
      const dx = new Float32Array(x.length);
      for (let i = 0; i < x.length; i++) dx[i] = dy[i] * slope(x[i], y[i], node);
      return [dx];
    },
  };
}

/* An operation on two numbers, the second from another value or fixed: its value and two slopes. */
function pairwise(value, slopeLeft, slopeRight) {
  return {
    forward(node, [x, other]) {
      const y = new Float32Array(x.length);
      for (let i = 0; i < x.length; i++) y[i] = value(x[i], other ? other[i] : node.other);
      return y;
    },
    backward(node, [x, other], y, dy) {
      const dx = new Float32Array(x.length), dother = other && new Float32Array(x.length);
      for (let i = 0; i < x.length; i++) {
        const second = other ? other[i] : node.other;
        dx[i] = dy[i] * slopeLeft(x[i], second);
        if (other) dother[i] = dy[i] * slopeRight(x[i], second);
      }
      return [dx, dother];
    },
  };
}

/* The sum of w[i] * x[j] over `length` numbers each. */
function dot(w, i, x, j, length) {
  let a = 0, b = 0, c = 0, d = 0, k = 0;
  for (; k + 3 < length; k += 4) {
    a += w[i + k] * x[j + k];
    b += w[i + k + 1] * x[j + k + 1];
    c += w[i + k + 2] * x[j + k + 2];
    d += w[i + k + 3] * x[j + k + 3];
  }
  for (; k < length; k++) a += w[i + k] * x[j + k];
  return a + b + c + d;
}

/* Rows of x times the transpose of w, (outputs, inputs). Four rows and two outputs at once read six
   numbers for eight products; measured, that is up to twice as fast as one by one. */
function multiply(w, x, outputs, inputs) {
  const rows = x.length / inputs, y = new Float32Array(rows * outputs);
  const wholeRows = rows - rows % 4, wholeOutputs = outputs - outputs % 2;
  for (let o = 0; o < wholeOutputs; o += 2) {
    const i = o * inputs, j = i + inputs;
    for (let r = 0; r < wholeRows; r += 4) {
      const p = r * inputs, q = p + inputs, s = q + inputs, t = s + inputs;
      let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
      for (let k = 0; k < inputs; k++) {
        const v = w[i + k], u = w[j + k];
        const first = x[p + k], second = x[q + k], third = x[s + k], fourth = x[t + k];
        a += v * first; b += v * second; c += v * third; d += v * fourth;
        e += u * first; f += u * second; g += u * third; h += u * fourth;
      }
      const place = r * outputs + o;
      y[place] = a; y[place + outputs] = b;
      y[place + 2 * outputs] = c; y[place + 3 * outputs] = d;
      y[place + 1] = e; y[place + outputs + 1] = f;
      y[place + 2 * outputs + 1] = g; y[place + 3 * outputs + 1] = h;
    }
  }
  for (let r = 0; r < rows; r++) {
    for (let o = r < wholeRows ? wholeOutputs : 0; o < outputs; o++) {
      y[r * outputs + o] = dot(w, o * inputs, x, r * inputs, inputs);
    }
  }
  return y;
}

/* The transpose of a matrix; kept, because a search needs it at every step. */
const transposes = new WeakMap();
function transposed(w, rows, columns) {
  if (!transposes.has(w)) {
    const transpose = new Float32Array(w.length);
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
      transpose[c * rows + r] = w[r * columns + c];
    }
    transposes.set(w, transpose);
  }
  return transposes.get(w);
}

/* Calls `visit(place in the large value, place in the part)` for a part of the middle dimension. */
function eachOfPart(shape, dim, start, count, n, visit) {
  const axis = (dim < 0 ? dim + shape.length : dim - 1); // of a row: torch counts the batch too
  const outer = n * size(shape.slice(0, axis)), inner = size(shape.slice(axis + 1));
  for (let o = 0; o < outer; o++) for (let k = 0; k < count * inner; k++) {
    visit((o * shape[axis] + start) * inner + k, o * count * inner + k);
  }
}

/* Where each input of a `cat` begins along the joined dimension. */
function catParts({ shape, dim }, inputs, n) {
  const axis = (dim < 0 ? dim + shape.length : dim - 1);
  const rest = n * size(shape) / shape[axis];
  let start = 0;
  return inputs.map((x) => {
    const part = { start, count: x.length / rest };
    start += part.count;
    return part;
  });
}

/* An operation that copies numbers: `source` gives, for each number of a row of the result, its
   place in the row of the input. */
const sources = new WeakMap();
function moved(source) {
  const placesOf = (node) => {
    if (!sources.has(node)) sources.set(node, source(node));
    return sources.get(node);
  };
  return {
    forward(node, [x], n) {
      const places = placesOf(node), { length } = places, y = new Float32Array(n * length);
      const before = x.length / n;
      for (let row = 0; row < n; row++) for (let i = 0; i < length; i++) {
        y[row * length + i] = x[row * before + places[i]];
      }
      return y;
    },
    backward(node, [x], y, dy, n) {
      const places = placesOf(node), { length } = places, dx = new Float32Array(x.length);
      const before = x.length / n;
      for (let row = 0; row < n; row++) for (let i = 0; i < length; i++) {
        dx[row * before + places[i]] += dy[row * length + i];
      }
      return [dx];
    },
  };
}

/* The places of `expand`, which repeats a value along dimensions that it lacks or that are 1. */
function repeated({ from, shape }) {
  const places = new Uint32Array(size(shape)), missing = shape.length - from.length;
  for (let i = 0; i < places.length; i++) {
    let rest = i, step = 1;
    for (let axis = shape.length - 1; axis >= missing; axis--) {
      const side = from[axis - missing];
      if (side > 1) places[i] += rest % shape[axis] * step;
      rest = Math.floor(rest / shape[axis]);
      step *= side;
    }
  }
  return places;
}

/* Abramowitz & Stegun 7.1.26, to 1.5e-7. */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const sum = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t
    + 0.254829592) * t;
  return Math.sign(x) * (1 - sum * Math.exp(-x * x));
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const normal = (x) => 0.5 * (1 + erf(x / Math.SQRT2)); // distribution function
const SELU = [1.0507009873554805, 1.6732632423543772]; // Klambauer et al. 2017

const OPS = {
  relu: pointwise((x) => Math.max(x, 0), (x) => Number(x > 0)),
  leaky_relu: pointwise(
    (x, node) => (x > 0 ? x : node.negative_slope * x),
    (x, y, node) => (x > 0 ? 1 : node.negative_slope),
  ),
  elu: pointwise(
    (x, node) => (x > 0 ? x : node.alpha * Math.expm1(x)),
    (x, y, node) => (x > 0 ? 1 : y + node.alpha),
  ),
  selu: pointwise(
    (x) => SELU[0] * (x > 0 ? x : SELU[1] * Math.expm1(x)),
    (x, y) => (x > 0 ? SELU[0] : y + SELU[0] * SELU[1]),
  ),
  gelu: pointwise(
    (x) => x * normal(x),
    (x) => normal(x) + x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI),
  ),
  silu: pointwise(
    (x) => x * sigmoid(x),
    (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))),
  ),
  tanh: pointwise(Math.tanh, (x, y) => 1 - y * y),
  sigmoid: pointwise(sigmoid, (x, y) => y * (1 - y)),
  sin: pointwise(Math.sin, Math.cos),
  cos: pointwise(Math.cos, (x) => -Math.sin(x)),
  add: pairwise((a, b) => a + b, () => 1, () => 1),
  sub: pairwise((a, b) => a - b, () => 1, () => -1),
  mul: pairwise((a, b) => a * b, (a, b) => b, (a) => a),
  div: pairwise((a, b) => a / b, (a, b) => 1 / b, (a, b) => -a / (b * b)),
  constant: { // the same numbers for each row
    forward({ values }, inputs, n) {
      const y = new Float32Array(n * values.length);
      for (let row = 0; row < n; row++) y.set(values, row * values.length);
      return y;
    },
    backward: () => [],
  },
  expand: moved(repeated),

  linear: {
    forward({ weight, bias, kernel: [outputs, inputs] }, [x]) {
      const y = multiply(weight, x, outputs, inputs);
      return bias ? y.map((v, i) => v + bias[i % outputs]) : y;
    },
    backward({ weight, kernel: [outputs, inputs] }, [x], y, dy) {
      return [multiply(transposed(weight, outputs, inputs), dy, inputs, outputs)];
    },
  },
  slice: {
    part: ({ from, shape, dim }) => shape[dim - 1],
    forward(node, [x], n) {
      const y = new Float32Array(n * size(node.shape));
      eachOfPart(node.from, node.dim, node.start, this.part(node), n, (i, k) => { y[k] = x[i]; });
      return y;
    },
    backward(node, [x], y, dy, n) {
      const dx = new Float32Array(x.length);
      eachOfPart(node.from, node.dim, node.start, this.part(node), n, (i, k) => { dx[i] = dy[k]; });
      return [dx];
    },
  },
  cat: {
    forward(node, inputs, n) {
      const y = new Float32Array(n * size(node.shape));
      catParts(node, inputs, n).forEach(({ start, count }, index) => {
        eachOfPart(node.shape, node.dim, start, count, n, (i, k) => { y[i] = inputs[index][k]; });
      });
      return y;
    },
    backward(node, inputs, y, dy, n) {
      return catParts(node, inputs, n).map(({ start, count }, index) => {
        const dx = new Float32Array(inputs[index].length);
        eachOfPart(node.shape, node.dim, start, count, n, (i, k) => { dx[k] = dy[i]; });
        return dx;
      });
    },
  },
  argmax: { // a whole number, which has no slope
    forward({ from, dim }, [x], n) {
      const axis = (dim < 0 ? dim + from.length : dim - 1), inner = size(from.slice(axis + 1));
      const y = new Float32Array(x.length / from[axis]);
      for (let i = 0; i < y.length; i++) {
        const start = Math.floor(i / inner) * from[axis] * inner + i % inner;
        for (let k = 1; k < from[axis]; k++) {
          if (x[start + k * inner] > x[start + y[i] * inner]) y[i] = k;
        }
      }
      return y;
    },
    backward: (node, [x]) => [new Float32Array(x.length)],
  },
  one_hot: { // of labels, which have no slope
    forward({ num_classes }, [labels], n) {
      const y = new Float32Array(n * num_classes);
      for (let i = 0; i < n; i++) y[i * num_classes + labels[i]] = 1;
      return y;
    },
    backward: (node, [labels]) => [new Float32Array(labels.length)],
  },
};
