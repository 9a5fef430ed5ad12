"""The rival of the API, as published solutions write it: FastAPI, a pipeline from joblib, one text a product."""

import os

import joblib  # type: ignore[import-untyped]
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = joblib.load(os.environ["MODEL"])


class Product(BaseModel):
    """A product."""

    text: str


@app.post("/predict")
def predict(product: Product) -> dict[str, str]:
    return {"label": str(model.predict([product.text])[0])}


@app.post("/predict_many")
def predict_many(products: list[Product]) -> list[dict[str, str]]:
    return [{"label": str(label)} for label in model.predict([product.text for product in products])]
