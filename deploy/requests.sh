#!/usr/bin/env bash
# The requests of requests.http as curl lines, each to be copied as it is once `host` is set; all of them:
#   deploy/requests.sh [http://127.0.0.1:8000]
set -euo pipefail
host=${1:-http://127.0.0.1:8000}

# Does it live?
curl -sS --fail-with-body -w "\n" "$host/health"

# Can it predict?
curl -sS --fail-with-body -w "\n" "$host/ready"

# What is served
curl -sS --fail-with-body -w "\n" "$host/v1/catalogs"

# One catalogue: fields, labels, model
curl -sS --fail-with-body -w "\n" "$host/v1/catalogs/demo"

# Labels for products, in order
curl -sS --fail-with-body -w "\n" "$host/v1/catalogs/demo/predictions" \
  -H 'Content-Type: application/json' \
  --data-binary '{"products": [{"title": "Steel watering can, 5 litres"}, {"title": "Wooden train set", "price": "24.90"}]}'

# … without reasons, from a bare list
curl -sS --fail-with-body -w "\n" "$host/v1/catalogs/demo/predictions?reasons=false" \
  -H 'Content-Type: application/json' \
  --data-binary '[{"id": "p1", "title": "Cast iron pan, 28 cm", "brand": "Halewell"}]'

# … as a stream, one product a line
curl -sS --fail-with-body -w "\n" "$host/v1/catalogs/demo/predictions" \
  -H 'Content-Type: application/x-ndjson' \
  --data-binary '{"title": "Steel watering can, 5 litres"}
{"title": "Wooden train set"}'

# The stored prediction of a product
curl -sS --fail-with-body -w "\n" "$host/v1/catalogs/demo/predictions/D000-0000001"

# Contract: elo7
curl -sS --fail-with-body -w "\n" "$host/v1/categorize" \
  -H 'Content-Type: application/json' \
  --data-binary '{"products": [{"title": "Lembrancinha"}, {"title": "Colar de prata"}]}'

# Contract: asos
curl -sS --fail-with-body -w "\n" "$host/infer" \
  -H 'Content-Type: application/json' \
  --data-binary '[{"name": "Midi tea dress", "description": "Dress; Floral all over; V-neck", "product_id": 1234567}]'

# Contract: newsgroups
curl -sS --fail-with-body -w "\n" "$host/prediction" \
  -H 'Content-Type: application/json' \
  --data-binary '{"text": "The goalie stopped every puck in the game."}'

# Contract: amazon
curl -sS --fail-with-body -w "\n" "$host/v1/main_cat" \
  -H 'Content-Type: application/json' \
  --data-binary '{"title": "HDMI cable, 2 m", "description": ["High speed."], "brand": "Cablewell", "price": "$7.99"}'

# Open Inference Protocol: the server
curl -sS --fail-with-body -w "\n" "$host/v2"

# Open Inference Protocol: does it live?
curl -sS --fail-with-body -w "\n" "$host/v2/health/live"

# Open Inference Protocol: can it predict?
curl -sS --fail-with-body -w "\n" "$host/v2/health/ready"

# Open Inference Protocol: the model
curl -sS --fail-with-body -w "\n" "$host/v2/models/demo"

# Open Inference Protocol: is the model loaded?
curl -sS --fail-with-body -w "\n" "$host/v2/models/demo/ready"

# Open Inference Protocol: labels
curl -sS --fail-with-body -w "\n" "$host/v2/models/demo/infer" \
  -H 'Content-Type: application/json' \
  --data-binary '{"inputs": [{"name": "title", "shape": [1], "datatype": "BYTES", "data": ["Steel watering can"]}]}'

# Open Inference Protocol: a version
curl -sS --fail-with-body -w "\n" "$host/v2/models/demo/versions/v1"

# Open Inference Protocol: is the version loaded?
curl -sS --fail-with-body -w "\n" "$host/v2/models/demo/versions/v1/ready"

# Open Inference Protocol: labels by a version
curl -sS --fail-with-body -w "\n" "$host/v2/models/demo/versions/v1/infer" \
  -H 'Content-Type: application/json' \
  --data-binary '{"inputs": [{"name": "title", "shape": [1], "datatype": "BYTES", "data": ["Wooden train set"]}]}'

# Metrics for Prometheus
curl -sS --fail-with-body -w "\n" "$host/metrics"
