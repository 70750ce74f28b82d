// A decoder in onnxruntime-web, in Node and in a browser alike: tokens in, logits out.

export async function decode(ort, graph, dataName, data, tokens, prompt) {
  let start = performance.now();
  const session = await ort.InferenceSession.create(graph, {
    executionProviders: ["wasm"],
    externalData: [{ path: dataName, data }],
    logSeverityLevel: 3,
  });
  const load = (performance.now() - start) / 1000;
  const names = session.inputNames.filter((name) => name.startsWith("past_key_values."));
  const int64 = (values, dims) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);
  let states = Object.fromEntries(
    session.inputMetadata
      .filter((input) => names.includes(input.name))
      .map((input) => {
        const empty = input.type === "float16" ? new Uint16Array(0) : new Float32Array(0);
        const dims = [1, input.shape[1], 0, input.shape[3]];
        return [input.name, new ort.Tensor(input.type, empty, dims)];
      }),
  );
  const chunks = [tokens.slice(0, prompt), ...tokens.slice(prompt).map((token) => [token])];
  const rows = [];
  let past = 0;
  for (const chunk of chunks) {
    const total = past + chunk.length;
    const every = {
      input_ids: int64(chunk, [1, chunk.length]),
      attention_mask: int64(new Array(total).fill(1), [1, total]),
      position_ids: int64(chunk.map((_, index) => past + index), [1, chunk.length]),
    };
    const taken = Object.entries(every).filter(([name]) => session.inputNames.includes(name));
    const made = await session.run({ ...Object.fromEntries(taken), ...states });
    const vocabulary = made.logits.dims[2];
    rows.push(made.logits.data.slice(-vocabulary));
    states = Object.fromEntries(
      names.map((name) => [name, made[name.replace("past_key_values.", "present.")]]),
    );
    past = total;
    if (rows.length === 1) start = performance.now();
  }
  const seconds = (performance.now() - start) / 1000;
  const logits = new Float32Array(rows.length * rows[0].length);
  rows.forEach((row, index) => logits.set(row, index * row.length));
  return { load_seconds: load, tokens_per_second: (rows.length - 1) / seconds, logits };
}
