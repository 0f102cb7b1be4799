/* Operations on images, (channels, height, width) each, for ops.js. */

/* For each position of a convolution's result, the places in the image that its kernel covers; the
   place after the last for those beyond the edge. `big` is the side before a convolution, `small`
   the one after it; for a transposed convolution it is the other way round. */
const patches = new WeakMap();
function patchesOf(node, big, small) {
  if (patches.has(node)) return patches.get(node);
  const [channels, height, width] = big, [, rows, columns] = small;
  const [kernelHeight, kernelWidth] = node.kernel.slice(2);
  const places = [];
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < kernelHeight; i++) for (let j = 0; j < kernelWidth; j++) {
        const y = row * node.stride[0] + i - node.padding[0];
        const x = column * node.stride[1] + j - node.padding[1];
        const inside = y >= 0 && y < height && x >= 0 && x < width;
        places.push(inside ? (c * height + y) * width + x : channels * height * width);
      }
    }
  }
  patches.set(node, Int32Array.from(places));
  return patches.get(node);
}

/* Each image's matrix of `rows` and `columns`, on its side. */
function turned(x, rows, columns) {
  const y = new Float32Array(x.length), length = rows * columns;
  for (let start = 0; start < x.length; start += length) {
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
      y[start + c * rows + r] = x[start + r * columns + c];
    }
  }
  return y;
}

/* From the big side to the small one, what a convolution does: the kernels times all patches. One
   image after the other, because the patches of one stay in the processor's cache. */
function gather(node, x, big, small, n) {
  const places = patchesOf(node, big, small), length = size(big), [filters] = small;
  const framed = new Float32Array(length + 1), covered = new Float32Array(places.length);
  const covers = size(node.kernel.slice(1)), y = new Float32Array(n * size(small));
  for (let image = 0; image < n; image++) {
    framed.set(x.subarray(image * length, (image + 1) * length)); // a 0 follows
    for (let i = 0; i < places.length; i++) covered[i] = framed[places[i]];
    y.set(multiply(node.weight, covered, filters, covers), image * size(small));
  }
  return turned(y, size(small.slice(1)), filters);
}

/* From the small side to the big one, what a transposed convolution does: the reverse. */
function scatter(node, x, big, small, n) {
  const places = patchesOf(node, big, small), length = size(big), [filters] = small;
  const covers = size(node.kernel.slice(1)), weight = transposed(node.weight, filters, covers);
  const covered = multiply(weight, turned(x, filters, size(small.slice(1))), covers, filters);
  const y = new Float32Array(n * length);
  for (let image = 0; image < n; image++) for (let i = 0; i < places.length; i++) {
    const place = places[i];
    if (place < length) y[image * length + place] += covered[image * places.length + i];
  }
  return y;
}

function addBias(node, y) {
  if (!node.bias) return y;
  const area = size(node.shape.slice(1));
  for (let i = 0; i < y.length; i++) y[i] += node.bias[Math.floor(i / area) % node.shape[0]];
  return y;
}

/* For each number of an upsampled image, the place in the image before that it copies. */
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

/* The same where each square of pixels becomes the channels of one. */
function unshuffled({ from: [, height, width], shape: [channels, rows, columns] }) {
  const side = height / rows, source = new Uint32Array(channels * rows * columns);
  for (let i = 0; i < source.length; i++) {
    const row = Math.floor(i / columns) % rows, column = i % columns;
    const plane = Math.floor(i / (rows * columns)), place = plane % side ** 2;
    const y = row * side + Math.floor(place / side), x = column * side + place % side;
    source[i] = (Math.floor(plane / side ** 2) * height + y) * width + x;
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
      const places = new Uint32Array(n * channels * rows * columns);
      for (let i = 0; i < places.length; i++) {
        const row = Math.floor(i / columns) % rows, column = i % columns;
        const plane = Math.floor(i / (rows * columns)) * height * width;
        const corner = plane + row * strideY * width + column * strideX;
        let best = corner;
        for (let a = 0; a < windowY; a++) for (let b = 0; b < windowX; b++) {
          const place = corner + a * width + b;
          if (x[place] > x[best]) best = place;
        }
        places[i] = best;
      }
      return places;
    },
    forward(node, [x], n) {
      const places = this.places(node, x, n), y = new Float32Array(places.length);
      for (let i = 0; i < y.length; i++) y[i] = x[places[i]];
      return y;
    },
    backward(node, [x], y, dy, n) {
      const dx = new Float32Array(x.length);
      this.places(node, x, n).forEach((place, i) => { dx[place] += dy[i]; });
      return [dx];
    },
  },
  upsample_nearest2d: moved(nearest),
  pixel_unshuffle: moved(unshuffled),
  pixel_shuffle: moved(({ from, shape }) => {
    const places = new Uint32Array(size(shape));
    unshuffled({ from: shape, shape: from }).forEach((place, i) => { places[place] = i; });
    return places;
  }),
  batch_norm: {
    channels({ weight, bias, running_mean, running_var, eps, shape }) {
      const scale = running_var.map((v, c) => (weight ? weight[c] : 1) / Math.sqrt(v + eps));
      const shift = scale.map((s, c) => (bias ? bias[c] : 0) - s * running_mean[c]);
      return { scale, shift, area: size(shape.slice(1)) };
    },
    forward(node, [x]) {
      const { scale, shift, area } = this.channels(node), y = new Float32Array(x.length);
      for (let start = 0, plane = 0; start < x.length; start += area, plane++) {
        const channel = plane % scale.length;
        for (let i = start; i < start + area; i++) y[i] = scale[channel] * x[i] + shift[channel];
      }
      return y;
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
