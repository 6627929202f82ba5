"""One training step of an ONNX denoiser in torch, as the other side of `npm run bench:autodiff`.

Executes the ONNX graph node by node with torch functions; loss = mean(output ** 2), gradients of all Conv, Gemm and
MatMul weights by torch.autograd. What does not depend on the inputs' values is computed once. Unless `--plain` is
given, the compositions an ONNX export makes of group_norm, silu, gelu and attention are put back together, so that
torch runs the kernels its own module would run.

Speaks lines: after "ready <version> <bytes> <loss> <norm>" (resident memory before the model was read, the loss and the sum
of the gradients' norms), every line "step" on stdin is answered with the milliseconds of processor and of wall time of one
forward and backward, and "peak" with the largest resident memory so far in bytes. Needs torch, onnx and numpy.

    python unet_step.py MODEL.onnx INPUTS_DIR THREADS [--plain]     INPUTS_DIR holds <input name>.npy
"""

import math
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper

TORCH_TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}


def resident(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return 0


def ints(tensor):
    return [int(value) for value in tensor.flatten().tolist()]


def slice_of(x, starts, ends, axes=None, steps=None):
    starts, ends = ints(starts), ints(ends)
    axes = ints(axes) if axes is not None else range(len(starts))
    index = [slice(None)] * x.dim()
    for at, axis in enumerate(axes):
        index[axis] = slice(starts[at], ends[at], ints(steps)[at] if steps is not None else 1)
    return x[tuple(index)]


def reshape(x, shape):
    dims = [x.shape[axis] if dim == 0 else dim for axis, dim in enumerate(ints(shape))]
    return x.reshape(dims)


def unsqueeze(x, axes):
    for axis in sorted(ints(axes)):
        x = x.unsqueeze(axis)
    return x


def gather(x, index, axis=0):
    rows = torch.where(index < 0, index + x.shape[axis], index)
    found = torch.index_select(x, axis, rows.reshape(-1))
    return found.reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


def convolution(x, w, b=None, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), group=1, **_):
    half = len(pads) // 2
    if tuple(pads[:half]) != tuple(pads[half:]):
        flat = [pad for axis in reversed(range(half)) for pad in (pads[axis], pads[half + axis])]
        x, pads = F.pad(x, flat), [0] * len(pads)
    return F.conv2d(x, w, b, list(strides), list(pads[:half]), list(dilations), group)


def gemm(a, b, c=None, alpha=1.0, beta=1.0, transA=0, transB=0):
    if alpha == 1.0 and beta == 1.0 and not transA and transB and c is not None and c.dim() == 1:
        return F.linear(a, b, c)
    product = alpha * ((a.T if transA else a) @ (b.T if transB else b))
    return product if c is None else product + beta * c


def resize(x, _roi=None, scales=None, sizes=None, mode="nearest", **_):
    if mode != "nearest":
        raise ValueError(f"Resize with mode {mode}")
    size = ints(sizes)[2:] if sizes is not None and sizes.numel() else None
    factors = None if size else [float(value) for value in scales[2:]]
    return F.interpolate(x, size=size, scale_factor=factors, mode="nearest")


def divide(a, b):
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


OPERATORS = {
    "Add": torch.add,
    "Cast": lambda x, to: x.to(TORCH_TYPES[to]),
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "ConstantOfShape": lambda shape, value=None: torch.full(
        ints(shape), 0.0 if value is None else value.item(), dtype=torch.float32 if value is None else value.dtype
    ),
    "Conv": convolution,
    "Cos": torch.cos,
    "Div": divide,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Expand": lambda x, shape: x.expand(torch.broadcast_shapes(tuple(x.shape), tuple(ints(shape)))),
    "Gather": gather,
    "Gemm": gemm,
    "Identity": lambda x: x,
    "InstanceNormalization": lambda x, w, b, epsilon=1e-5: F.instance_norm(x, weight=w, bias=b, eps=epsilon),
    "LayerNormalization": lambda x, w, b=None, axis=-1, epsilon=1e-5: F.layer_norm(x, x.shape[axis:], w, b, epsilon),
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Pow": torch.pow,
    "ReduceMean": lambda x, axes=None, keepdims=1: x.mean(dim=axes, keepdim=bool(keepdims)),
    "Reshape": lambda x, shape, allowzero=0: reshape(x, shape),
    "Resize": resize,
    "Shape": lambda x: torch.tensor(x.shape, dtype=torch.int64),
    "Sigmoid": torch.sigmoid,
    "Sin": torch.sin,
    "Slice": slice_of,
    "Softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "Split": lambda x, sizes, axis=0: torch.split(x, ints(sizes), axis),
    "Sqrt": torch.sqrt,
    "Squeeze": lambda x, axes: x.squeeze(tuple(ints(axes))),
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "Transpose": lambda x, perm: x.permute(perm),
    "Unsqueeze": unsqueeze,
    "Where": torch.where,
    # What `fuse` writes.
    "fused.silu": F.silu,
    "fused.gelu": F.gelu,
    "fused.group_norm": lambda x, w, b, groups, epsilon: F.group_norm(x, groups, w.flatten(), b.flatten(), epsilon),
    "fused.attention": lambda q, k, v: F.scaled_dot_product_attention(q, k.transpose(-1, -2), v, scale=1.0),
}


def attributes_of(node):
    values = {}
    for each in node.attribute:
        value = helper.get_attribute_value(each)
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, onnx.TensorProto):
            value = torch.from_numpy(np.array(numpy_helper.to_array(value)))
        values[each.name] = value
    return values


class Step:
    def __init__(self, path, inputs, fused):
        graph = onnx.load(path).graph
        self.inputs, self.output = inputs, graph.output[0].name
        self.values = {each.name: torch.from_numpy(np.array(numpy_helper.to_array(each))) for each in graph.initializer}
        layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
        weights = dict.fromkeys(node.input[1] for node in layers if node.input[1] in self.values)
        self.weights = [self.values[name].requires_grad_() for name in weights]
        nodes = [(node.op_type, list(node.input), list(node.output), attributes_of(node)) for node in graph.node]
        self.nodes = self.without_constants(nodes, set(inputs) | set(weights))
        if fused:
            self.nodes = self.fuse(self.nodes)
        self.dead = self.last_reads(self.nodes)

    def without_constants(self, nodes, moving):
        """Computes once what depends on shapes only, and returns the nodes that depend on values."""
        with torch.no_grad():
            known = {**self.values, **self.inputs}
            rest = []
            for node, dead in zip(nodes, self.last_reads(nodes)):
                op_type, reads, writes, attributes = node
                if op_type == "Constant":
                    self.values[writes[0]] = known[writes[0]] = attributes["value"]
                    continue
                result = self.apply(node, known)
                known.update(result)
                if op_type == "Shape" or not any(name in moving for name in reads):
                    self.values.update(result)
                else:
                    moving.update(writes)
                    rest.append(node)
                for name in dead:
                    known.pop(name, None)
        return rest

    def last_reads(self, nodes):
        """By node, the values no later node reads."""
        last = {}
        for at, (_, reads, _, _) in enumerate(nodes):
            for name in reads:
                last[name] = at
        return [[name for name in set(node[1]) if last[name] == at and name] for at, node in enumerate(nodes)]

    def fuse(self, nodes):
        made = {node[2][0]: node for node in nodes}
        uses = {}
        for node in nodes:
            for name in node[1]:
                uses[name] = uses.get(name, 0) + 1
        rewritten, gone = {}, set()

        def inner(name, op_type):
            node = made.get(name)
            return node if node is not None and node[0] == op_type and uses.get(name) == 1 else None

        def number(name):
            value = self.values.get(name)
            return value.item() if value is not None and value.numel() == 1 else None

        def replace(node, by, parts):
            rewritten[id(node)] = by
            gone.update(id(part) for part in parts)

        for node in nodes:
            op_type, reads, writes, _ = node
            if op_type == "Mul":
                gate = inner(reads[1], "Sigmoid")
                if gate is not None and gate[1][0] == reads[0]:
                    replace(node, ("fused.silu", [reads[0]], writes, {}), [gate])
                half = number(reads[1])
                outer = inner(reads[0], "Mul") if half == 0.5 else None
                shifted = inner(outer[1][1], "Add") if outer is not None else None
                error = inner(shifted[1][0], "Erf") if shifted is not None else None
                scaled = inner(error[1][0], "Div") if error is not None else None
                if scaled is not None and scaled[1][0] == outer[1][0]:
                    if abs(number(scaled[1][1]) - math.sqrt(2)) < 1e-6 and number(shifted[1][1]) == 1:
                        replace(node, ("fused.gelu", [outer[1][0]], writes, {}), [outer, shifted, error, scaled])
            if op_type == "Add":
                scaled = inner(reads[0], "Mul")
                back = inner(scaled[1][0], "Reshape") if scaled is not None else None
                norm = inner(back[1][0], "InstanceNormalization") if back is not None else None
                flat = inner(norm[1][0], "Reshape") if norm is not None else None
                if flat is not None and bool((self.values[norm[1][1]] == 1).all()):
                    groups, epsilon = ints(self.values[flat[1][1]])[1], norm[3]["epsilon"]
                    fused = [flat[1][0], scaled[1][1], reads[1]]
                    by = ("fused.group_norm", fused, writes, {"groups": groups, "epsilon": epsilon})
                    replace(node, by, [scaled, back, norm, flat])
            if op_type == "MatMul":
                weights = inner(reads[0], "Softmax")
                scores = inner(weights[1][0], "MatMul") if weights is not None else None
                if scores is not None:
                    replace(node, ("fused.attention", [*scores[1], reads[1]], writes, {}), [weights, scores])
        return [rewritten.get(id(node), node) for node in nodes if id(node) not in gone]

    @staticmethod
    def apply(node, values):
        op_type, reads, writes, attributes = node
        result = OPERATORS[op_type](*(values[name] if name else None for name in reads), **attributes)
        return {writes[0]: result} if len(writes) == 1 else dict(zip(writes, result))

    def run(self):
        values = {**self.values, **self.inputs}
        for node, dead in zip(self.nodes, self.dead):
            values.update(self.apply(node, values))
            for name in dead:
                values.pop(name, None)
        loss = values[self.output].square().mean()
        return loss, torch.autograd.grad(loss, self.weights)


def main():
    path, folder, threads = sys.argv[1:4]
    torch.set_num_threads(int(threads))
    loaded = resident("VmRSS")
    inputs = {each.stem: torch.from_numpy(np.load(each)) for each in Path(folder).glob("*.npy")}
    step = Step(path, inputs, "--plain" not in sys.argv)
    loss, gradients = step.run()
    norm = sum(float(gradient.norm()) for gradient in gradients)
    print(f"ready {torch.__version__} {loaded} {loss.item()} {norm}", flush=True)
    del loss, gradients
    for line in sys.stdin:
        if line.strip() == "peak":
            print(resident("VmHWM"), flush=True)
            continue
        wall, busy = time.perf_counter(), time.process_time()
        loss, gradients = step.run()
        busy, wall = time.process_time() - busy, time.perf_counter() - wall
        print(busy * 1000, wall * 1000, flush=True)
        del loss, gradients


main()
