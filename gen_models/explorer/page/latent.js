/* Latents: drawn from a prior, and on a path between two. Used by the page and by the worker. */

/* Uniform numbers in [0, 1) of a seed (mulberry32). */
function uniforms(seed) {
  let state = (seed * 2654435761) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/* A number of the standard normal distribution from two uniform ones (Box & Muller 1958). */
function gaussian(uniform) {
  return Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/* A draw from a sampler: of each class, or of all together, a mixture of Gaussians. */
function mixed({ weights, means, factors }, uniform, label) {
  const mixture = weights.length > 1 ? label : 0, shares = weights[mixture];
  let left = uniform(), k = 0;
  while (k < shares.length - 1 && left >= shares[k]) left -= shares[k++];
  const noise = means[mixture][k].map(() => gaussian(uniform));
  return means[mixture][k].map((mean, i) =>
    factors[mixture][k][i].reduce((sum, factor, j) => sum + factor * noise[j], mean));
}

/* n latents from a model's prior or its sampler; for a conditional model they end with the label. */
function prior(model, uniform, n, label = null) {
  const rows = [];
  for (let i = 0; i < n; i++) {
    const own = label ?? Math.floor(uniform() * model.classes);
    if (model.sampler) rows.push(...mixed(model.sampler, uniform, own));
    else {
      for (let k = 0; k < model.latent - model.classes; k++) {
        rows.push(model.prior === "normal" ? gaussian(uniform) : 2 * uniform() - 1);
      }
    }
    for (let k = 0; k < model.classes; k++) rows.push(Number(k === own));
  }
  return Float32Array.from(rows);
}

/* A point on the path from z to z, on a line or on a sphere (Shoemake 1985; White 2016). */
function pathPoint(from, to, share, sphere) {
  const product = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);
  const cosine = product(from, to) / Math.sqrt(product(from, from) * product(to, to));
  const angle = Math.acos(Math.max(-1, Math.min(1, cosine))), sine = Math.sin(angle);
  let weights = [1 - share, share];
  if (sphere && sine > 1e-6) weights = weights.map((weight) => Math.sin(weight * angle) / sine);
  return from.map((v, i) => weights[0] * v + weights[1] * to[i]);
}
