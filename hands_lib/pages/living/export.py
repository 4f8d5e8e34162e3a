"""A torch module as a graph that a page can run: exported to ONNX, then written as JSON.

    model = exported(Module(), {"image": torch.rand(1, 3, 64, 64)}, ["joints"])

`static/hands-graph.js` runs it. ONNX stands between the two because its operators are defined outside of
torch; what the page gets is the same graph without protobuf, which a browser cannot read.

    inputs, outputs   names
    nodes             [operator, names of inputs, names of outputs, attributes]
    constants         name -> [type, shape, where it begins in `values`]
    values            base64: all constants one after another, at multiples of four bytes

A constant whose numbers are all half-precision numbers is kept in half precision: nothing is rounded here. A
caller who wants a small model rounds its weights first (`in_half_precision`).
"""

import base64
import copy
import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from hands_lib.cache import made_once

_OPSET = 20
Network = TypeVar("Network", bound=nn.Module)


def in_half_precision(network: Network) -> Network:
    """A copy whose weights are the nearest half-precision numbers, kept in float32."""
    rounded = copy.deepcopy(network)
    with torch.no_grad():
        for weight in (*rounded.parameters(), *rounded.buffers()):
            if weight.is_floating_point():
                weight.copy_(weight.half().float())
    return rounded


def exported(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], descends: bool = False
) -> dict[str, Any]:
    """The module in evaluation mode as a graph, from the cache where the same was exported before.

    inputs    an example of each input, in the order of the module's `forward`; shapes stay as they are in it
    outputs   names for what `forward` returns
    descends  whether `forward` asks for gradients: it is then traced operation by operation first, as the
              exporter alone does not see through all of them

    Raises what torch raises for a module that it cannot see through.
    """
    state = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        state.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    shapes = {name: (list(value.shape), str(value.dtype)) for name, value in inputs.items()}
    asked = [_settings(module), state.hexdigest(), shapes, list(outputs), torch.__version__, _code()]

    def make() -> dict[str, Tensor]:
        text = json.dumps(_as_json(_onnx_graph(module, inputs, outputs, descends)), separators=(",", ":"))
        return {"json": torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)}

    return json.loads(bytes(made_once("living", asked, make)["json"].numpy()))


def _settings(module: nn.Module) -> list[str]:
    """What modules are besides their weights: kinds, and plain values such as sizes and switches."""
    return [
        f"{name} {type(part).__name__} {key}={value!r}"
        for name, part in module.named_modules()
        for key, value in {"": "", **vars(part)}.items()
        if isinstance(value, str | int | float | tuple) or is_dataclass(value)
    ]


def _code() -> str:
    """A digest of the sources that a module may be made of."""
    library, digest = Path(__file__).parents[2], hashlib.sha256()
    folders = [sorted((library / name).rglob("*.py")) for name in ("hand", "methods", "nn")]
    for path in (*sum(folders, []), Path(__file__), Path(__file__).with_name("graphs.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _onnx_graph(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], descends: bool
) -> Any:
    from onnxscript import optimizer

    arguments, traced = tuple(inputs.values()), module.eval()
    if descends:
        traced = make_fx(module, tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about torch's own exporter
        program = torch.onnx.export(
            traced, arguments, dynamo=True, optimize=False, opset_version=_OPSET, verbose=False,
            input_names=list(inputs), output_names=list(outputs),
        )  # fmt: skip
    assert program is not None
    # Its own optimisation would also join weights with normalisations, and then they are no halves any more.
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    return program.model_proto.graph


def _as_json(graph: Any) -> dict[str, Any]:
    """The graph of an ONNX model in the form of this module's header."""
    from onnx import helper, numpy_helper

    constants: dict[str, list[Any]] = {}
    values = bytearray()

    def kept(array: NDArray) -> list[Any]:
        array = np.asarray(array, order="C")  # not `ascontiguousarray`: a scalar has no dimension
        if array.dtype.kind == "f":
            half = array.astype(np.float16)
            array = half if array.size > 16 and (half == array).all() else array.astype(np.float32)
        elif array.dtype == bool:
            array = array.astype(np.uint8)
        else:
            array = array.clip(-(2**31), 2**31 - 1).astype(np.int32)  # ONNX says "to the end" with 2^63 - 1
        values.extend(bytes(-len(values) % 4))
        where = [f"{array.dtype.kind}{array.itemsize}", list(array.shape), len(values)]
        values.extend(array.tobytes())
        return where

    def attribute(value: Any) -> Any:
        if hasattr(value, "raw_data"):  # a tensor
            return kept(numpy_helper.to_array(value))
        if isinstance(value, bytes):
            return value.decode()
        return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value

    for one in graph.initializer:
        constants[one.name] = kept(numpy_helper.to_array(one))
    nodes = []
    for node in graph.node:
        attributes = {one.name: attribute(helper.get_attribute_value(one)) for one in node.attribute}
        if node.op_type == "Constant":
            value = attributes["value"] if "value" in attributes else kept(np.asarray(*attributes.values()))
            constants[node.output[0]] = value
            continue
        nodes.append([node.op_type, list(node.input), list(node.output), attributes])
    return {
        "inputs": [one.name for one in graph.input],
        "outputs": [one.name for one in graph.output],
        "nodes": nodes,
        "constants": constants,
        "values": base64.b64encode(bytes(values)).decode("ascii"),
    }
