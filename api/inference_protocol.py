"""The Open Inference Protocol (version 2, REST), so that model gateways and load tools can call any champion.

A model is a catalogue. Inputs are tensors by field, of shape [products] or [products, values]; outputs are label,
confidence, decision and runner-up. https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.bodies import contract_route
from api.champions import Champion
from api.operations import version as own_version
from api.problems import FieldProblem, Refusal, invalid, pointer_to
from api.products import Steps, check_number
from api.service import service_of

__all__ = ["router"]

OUTPUTS = {"label": "BYTES", "confidence": "FP64", "decision": "BYTES", "runner_up": "BYTES"}
_DATATYPES = frozenset(
    {"BYTES", "BOOL"} | {f"{kind}{bits}" for kind in ("INT", "UINT", "FP") for bits in (8, 16, 32, 64)}
)


EXAMPLE: dict[str, Any] = {
    "id": "42",
    "inputs": [
        {"name": "title", "shape": [2], "datatype": "BYTES", "data": ["Steel watering can", "Wooden train set"]},
        {"name": "price", "shape": [2], "datatype": "FP64", "data": [9.5, 24.9]},
    ],
}


class Tensor(BaseModel):
    """Values of one field for all products of a request."""

    name: str = Field(examples=["title"])
    shape: list[Annotated[int, Field(ge=1)]] = Field(min_length=1, max_length=2, examples=[[1]])
    datatype: str = Field(examples=["BYTES"])
    parameters: dict[str, Any] | None = None
    data: list[Any] = Field(examples=[["Steel watering can"]])


class WantedOutput(BaseModel):
    """An output that the client wants."""

    name: str
    parameters: dict[str, Any] | None = None


class InferenceRequest(BaseModel):
    """Products as one tensor a field."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: list[Tensor] = Field(min_length=1)
    outputs: list[WantedOutput] | None = None


class InferenceResponse(BaseModel):
    """Answers as tensors."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[Tensor]


class TensorKind(BaseModel):
    """An input or output of a model; -1 in a shape stands for any number."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model's inputs and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorKind]
    outputs: list[TensorKind]


class ProtocolError(BaseModel):
    """The protocol's error, in a problem document."""

    error: str
    title: str
    status: int
    detail: str
    hint: str | None = None


_NOT_THERE: dict[int | str, dict[str, Any]] = {
    404: {"model": ProtocolError, "description": "There is no such model or version."},
    503: {"model": ProtocolError, "description": "The model is not loaded, or there is no room for this request now."},
}
_BAD_BODY: dict[int | str, dict[str, Any]] = {
    400: {"model": ProtocolError, "description": "The body is not an inference request that this model can answer."}
}

router = APIRouter(
    prefix="/v2", tags=["open inference protocol"], route_class=contract_route(400), strict_content_type=False
)
Name = Annotated[str, Path(description="Name of a catalogue.", examples=["demo"])]
Version = Annotated[str, Path(description="Version of its champion.", examples=["v1"])]


@router.get("", summary="The server")
async def server_metadata() -> dict[str, Any]:
    """Name, version and extensions of the server."""
    return {"name": "aisle", "version": own_version(), "extensions": []}


@router.get("/health/live", summary="Does it live?")
async def server_live() -> dict[str, bool]:
    """Always, when it answers."""
    return {"live": True}


@router.get("/health/ready", summary="Can it predict?", responses={503: _NOT_THERE[503]})
async def server_ready(request: Request) -> dict[str, bool]:
    """Whether at least one champion is in memory."""
    champions = service_of(request).champions
    if champions.served():
        return {"ready": True}
    raise champions.nothing_yet()


@router.get("/models/{name}", summary="A model", response_model=ModelMetadata, responses=_NOT_THERE)
async def model_metadata(request: Request, name: Name) -> Response:
    """Inputs and outputs of a catalogue's champion."""
    return _metadata(name, _champion(request, name))


@router.get(
    "/models/{name}/versions/{version}",
    summary="A version of a model",
    response_model=ModelMetadata,
    responses=_NOT_THERE,
)
async def model_metadata_of_version(request: Request, name: Name, version: Version) -> Response:
    """Inputs and outputs of a catalogue's champion, if that is its version."""
    return _metadata(name, _champion(request, name, version))


@router.get("/models/{name}/ready", summary="Is it loaded?", responses=_NOT_THERE)
async def model_ready(request: Request, name: Name) -> dict[str, Any]:
    """Whether a catalogue's champion is in memory."""
    _champion(request, name)
    return {"name": name, "ready": True}


@router.get("/models/{name}/versions/{version}/ready", summary="Is this version loaded?", responses=_NOT_THERE)
async def model_ready_of_version(request: Request, name: Name, version: Version) -> dict[str, Any]:
    """Whether this version is a catalogue's champion, and in memory."""
    _champion(request, name, version)
    return {"name": name, "ready": True}


@router.post(
    "/models/{name}/infer", summary="Labels", response_model=InferenceResponse, responses=_NOT_THERE | _BAD_BODY
)
async def model_infer(request: Request, name: Name, body: InferenceRequest) -> Response:
    """Label, confidence, decision and runner-up of each product, in order."""
    return await _infer(request, name, _champion(request, name), body)


@router.post(
    "/models/{name}/versions/{version}/infer",
    summary="Labels by a version",
    response_model=InferenceResponse,
    responses=_NOT_THERE | _BAD_BODY,
)
async def model_infer_of_version(request: Request, name: Name, version: Version, body: InferenceRequest) -> Response:
    """The same by this version, if it is the champion."""
    return await _infer(request, name, _champion(request, name, version), body)


def _metadata(name: str, champion: Champion) -> Response:
    inputs = [
        {"name": field.column, "datatype": "FP64" if field.kind == "number" else "BYTES", "shape": [-1, -1]}
        for field in champion.spec.fields
    ]
    outputs = [{"name": output, "datatype": datatype, "shape": [-1]} for output, datatype in OUTPUTS.items()]
    versions = [champion.record.version]
    return _json({"name": name, "versions": versions, "platform": "aisle_linear", "inputs": inputs, "outputs": outputs})


async def _infer(request: Request, name: str, champion: Champion, body: InferenceRequest) -> Response:
    wanted = [output.name for output in body.outputs or []] or list(OUTPUTS)
    if unknown := [output for output in wanted if output not in OUTPUTS]:
        number = wanted.index(unknown[0])
        detail = f"there is no output '{unknown[0][:80]}'; there are {', '.join(OUTPUTS)}"
        raise invalid([FieldProblem(pointer=pointer_to("outputs", number, "name"), detail=detail)])
    service = service_of(request)
    check_number(body.inputs[0].shape[0], service.settings)
    products = _products(body.inputs)
    answers = await service.answer(request, champion, products, partial(_place, body.inputs))
    outputs = [
        {"name": output, "datatype": OUTPUTS[output], "shape": [len(answers)], "data": answers.column(output)}
        for output in wanted
    ]
    said = {"model_name": name, "model_version": champion.record.version, "outputs": outputs}
    return _json(said if body.id is None else {**said, "id": body.id})


def _champion(request: Request, name: str, version: str | None = None) -> Champion:
    champion = service_of(request).champions.of(name)
    if version is not None and version != champion.record.version:
        hint = f"version {champion.record.version} is served; versions before it are in the warehouse's views"
        raise Refusal(404, f"model {name} has no version '{version[:40]}' in memory", hint=hint)
    return champion


def _products(inputs: list[Tensor]) -> list[dict[str, Any]]:
    """Tensors by field as products.

    Raises:
        BodyRefusal: tensors that do not fit their shapes, or each other.
    """
    rows = inputs[0].shape[0]
    for number, tensor in enumerate(inputs):
        problem = _tensor_problem(tensor, rows)
        if problem is not None:
            key, detail = problem
            raise invalid([FieldProblem(pointer=pointer_to("inputs", number, key), detail=detail)])
    # Not before: a shape costs nothing to write, so only one that its data bear out says how much memory to take.
    products: list[dict[str, Any]] = [{} for _ in range(rows)]
    for tensor in inputs:
        width = tensor.shape[1] if len(tensor.shape) == 2 else 1
        values = tensor.data
        if width != 1 and len(values) != rows:
            values = [values[start : start + width] for start in range(0, len(values), width)]
        for product, value in zip(products, values, strict=True):
            single = type(value) is list and len(value) == 1
            product[tensor.name] = value[0] if single else value
    return products


def _place(inputs: list[Tensor], product: int, steps: Steps) -> Steps:
    """Where the value of a product's field stands among the tensors."""
    number = next((number for number, tensor in enumerate(inputs) if tensor.name in steps[:1]), None)
    if number is None:
        return ("inputs", *steps) if steps else ("inputs", 0, "data", product)
    tensor, entry = inputs[number], steps[1:]
    width = tensor.shape[1] if len(tensor.shape) == 2 else 1
    if width == 1 or len(tensor.data) == tensor.shape[0]:
        return ("inputs", number, "data", product, *entry)
    first = product * width  # flat: as many values a product as the shape says
    return ("inputs", number, "data", *((first + int(entry[0]),) if entry else ()))


def _tensor_problem(tensor: Tensor, rows: int) -> tuple[str, str] | None:
    if tensor.datatype not in _DATATYPES:
        return "datatype", f"there is no datatype '{tensor.datatype[:40]}'"
    if tensor.shape[0] != rows:
        return "shape", f"holds {tensor.shape[0]} products, the first input holds {rows}"
    width = tensor.shape[1] if len(tensor.shape) == 2 else 1
    nested = len(tensor.data) == rows and all(type(value) is list for value in tensor.data)
    if nested and all(len(value) == width for value in tensor.data):
        return None
    if nested:
        return "data", f"has a list that does not hold {width} values, as its shape asks for"
    if len(tensor.data) != rows * width:
        return "data", f"holds {len(tensor.data)} values, its shape asks for {rows * width}"
    return None


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
