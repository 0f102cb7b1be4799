/* Operations on images, (channels, height, width) each, for ops.js. */

/* Every use of every weight of a convolution, as runs along a row: `big` is the side before a
   convolution, `small` the one after; of a transposed convolution the other way round. */
function eachTap(node, big, small, n, visit) {
  const [channels, height, width] = big, [filters, rows, columns] = small;
  const [kernelHeight, kernelWidth] = node.kernel.slice(2);
  const [strideY, strideX] = node.stride, [padY, padX] = node.padding;
  let tap = 0;
  for (let f = 0; f < filters; f++) for (let c = 0; c < channels; c++) {
    for (let i = 0; i < kernelHeight; i++) for (let j = 0; j < kernelWidth; j++, tap++) {
      const first = Math.max(0, Math.ceil((padX - j) / strideX));
      const last = Math.min(columns - 1, Math.floor((width - 1 + padX - j) / strideX));
      if (last < first) continue;
      for (let row = 0; row < rows; row++) {
        const y = row * strideY + i - padY;
        if (y < 0 || y >= height) continue;
        for (let image = 0; image < n; image++) {
          const before = ((image * channels + c) * height + y) * width + first * strideX + j - padX;
          const after = ((image * filters + f) * rows + row) * columns + first;
          visit(node.weight[tap], before, after, last - first + 1);
        }
      }
    }
  }
}

/* From the big side to the small one: what a convolution does. */
function gather(node, x, big, small, n) {
  const y = new Float32Array(n * size(small)), stride = node.stride[1];
  eachTap(node, big, small, n, (weight, from, to, length) => {
    for (let k = 0; k < length; k++) y[to + k] += weight * x[from + k * stride];
  });
  return y;
}

/* From the small side to the big one: what a transposed convolution does. */
function scatter(node, x, big, small, n) {
  const y = new Float32Array(n * size(big)), stride = node.stride[1];
  eachTap(node, big, small, n, (weight, to, from, length) => {
    for (let k = 0; k < length; k++) y[to + k * stride] += weight * x[from + k];
  });
  return y;
}

function addBias(node, y) {
  if (!node.bias) return y;
  const area = size(node.shape.slice(1));
  for (let i = 0; i < y.length; i++) y[i] += node.bias[Math.floor(i / area) % node.shape[0]];
  return y;
}

/* The place of each number of an image after upsampling in the image before. */
function nearest({ from: [channels, height, width], shape: [, rows, columns] }) {
  const source = new Uint32Array(channels * rows * columns);
  for (let i = 0; i < source.length; i++) {
    const row = Math.floor(i / columns) % rows, column = i % columns;
    const channel = Math.floor(i / (rows * columns));
    source[i] = (channel * height + Math.floor(row * height / rows)) * width
      + Math.floor(column * width / columns);
  }
  return source;
}

/* Mean and 1 / standard deviation of one group of channels of one image. */
function moments(x, start, length, eps) {
  let mean = 0, square = 0;
  for (let i = start; i < start + length; i++) mean += x[i] / length;
  for (let i = start; i < start + length; i++) square += (x[i] - mean) ** 2 / length;
  return [mean, 1 / Math.sqrt(square + eps)];
}

Object.assign(OPS, {
  conv2d: {
    forward: (node, [x], n) => addBias(node, gather(node, x, node.from, node.shape, n)),
    backward: (node, [x], y, dy, n) => [scatter(node, dy, node.from, node.shape, n)],
  },
  conv_transpose2d: {
    forward: (node, [x], n) => addBias(node, scatter(node, x, node.shape, node.from, n)),
    backward: (node, [x], y, dy, n) => [gather(node, dy, node.shape, node.from, n)],
  },
  max_pool2d: {
    /* The place of the largest number of each window. */
    places({ from: [channels, height, width], shape: [, rows, columns], ...node }, x, n) {
      const [strideY, strideX] = node.stride.length ? node.stride : node.kernel_size;
      const [windowY, windowX] = node.kernel_size;
      const found = new Uint32Array(n * channels * rows * columns);
      for (let i = 0; i < found.length; i++) {
        const row = Math.floor(i / columns) % rows, column = i % columns;
        const plane = Math.floor(i / (rows * columns)) * height * width;
        const corner = plane + row * strideY * width + column * strideX;
        let best = corner;
        for (let a = 0; a < windowY; a++) for (let b = 0; b < windowX; b++) {
          const place = corner + a * width + b;
          if (x[place] > x[best]) best = place;
        }
        found[i] = best;
      }
      return found;
    },
    forward(node, [x], n) {
      return Float32Array.from(this.places(node, x, n), (place) => x[place]);
    },
    backward(node, [x], y, dy, n) {
      const dx = new Float32Array(x.length);
      this.places(node, x, n).forEach((place, i) => { dx[place] += dy[i]; });
      return [dx];
    },
  },
  upsample_nearest2d: {
    forward(node, [x], n) {
      const source = nearest(node), y = new Float32Array(n * source.length);
      const before = size(node.from);
      for (let i = 0; i < y.length; i++) {
        y[i] = x[Math.floor(i / source.length) * before + source[i % source.length]];
      }
      return y;
    },
    backward(node, [x], y, dy) {
      const source = nearest(node), dx = new Float32Array(x.length), before = size(node.from);
      for (let i = 0; i < dy.length; i++) {
        dx[Math.floor(i / source.length) * before + source[i % source.length]] += dy[i];
      }
      return [dx];
    },
  },
  batch_norm: {
    channels({ weight, bias, running_mean, running_var, eps, shape }) {
      const scale = running_var.map((v, c) => (weight ? weight[c] : 1) / Math.sqrt(v + eps));
      const shift = scale.map((s, c) => (bias ? bias[c] : 0) - s * running_mean[c]);
      return { scale, shift, area: size(shape.slice(1)) };
    },
    forward(node, [x]) {
      const { scale, shift, area } = this.channels(node);
      return x.map((v, i) => {
        const channel = Math.floor(i / area) % scale.length;
        return scale[channel] * v + shift[channel];
      });
    },
    backward(node, [x], y, dy) {
      const { scale, area } = this.channels(node);
      return [dy.map((v, i) => scale[Math.floor(i / area) % scale.length] * v)];
    },
  },
  group_norm: {
    forward({ weight, bias, num_groups, eps, shape }, [x], n) {
      const y = new Float32Array(x.length), length = size(shape) / num_groups;
      const area = size(shape.slice(1));
      for (let start = 0; start < x.length; start += length) {
        const [mean, scale] = moments(x, start, length, eps);
        for (let i = start; i < start + length; i++) {
          const c = Math.floor(i / area) % shape[0];
          y[i] = (x[i] - mean) * scale * (weight ? weight[c] : 1) + (bias ? bias[c] : 0);
        }
      }
      return y;
    },
    backward({ weight, num_groups, eps, shape }, [x], y, dy) {
      const dx = new Float32Array(x.length), length = size(shape) / num_groups;
      const area = size(shape.slice(1));
      for (let start = 0; start < x.length; start += length) {
        const [mean, scale] = moments(x, start, length, eps);
        const slope = (i) => dy[i] * (weight ? weight[Math.floor(i / area) % shape[0]] : 1);
        let sum = 0, product = 0; // of the slopes, and of the slopes times the normed x
        for (let i = start; i < start + length; i++) {
          sum += slope(i) / length;
          product += slope(i) * (x[i] - mean) * scale / length;
        }
        for (let i = start; i < start + length; i++) {
          dx[i] = scale * (slope(i) - sum - (x[i] - mean) * scale * product);
        }
      }
      return [dx];
    },
  },
});
