# Two images from one file:
#   docker build -t aisle .                       all flows, the command and the API (target `pipeline`, the last)
#   docker build --target api -t aisle-api .      the command and the API, without Prefect, Great Expectations and Evidently
#
#   docker run -v aisle:/var/lib/aisle -v "$PWD/data:/data:ro" aisle run newsgroups /data/train.jsonl.gz
#   docker run -v aisle:/var/lib/aisle -p 8000:8000 aisle serve
#
# Nothing is written outside AISLE_HOME and the system's folder for temporary files: --read-only --tmpfs /tmp works.
ARG BASE_IMAGE=python:3.11-slim-bookworm


# --- The installer, and the folder that both images get their packages in.
FROM ${BASE_IMAGE} AS builder
# The base's own certificates, so that a build behind a company's proxy needs them in one place only.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_SYSTEM_CERTS=1 \
    UV_NO_CACHE=1
WORKDIR /src
COPY requirements/uv.txt requirements/
COPY deploy/docker/trim deploy/docker/
# What the compiled loops are made with is left out of the images, which have them as a library.
ENV NOT_IN_IMAGES="numba llvmlite"
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends binutils >/dev/null \
 && python -m venv /opt/uv \
 && /opt/uv/bin/pip install --quiet --require-hashes -r requirements/uv.txt \
 && python -m venv --without-pip /opt/aisle


# --- The compiled loops, as a library. Debian's headers are for a base whose Python is Debian's.
FROM builder AS kernels
COPY requirements/api.txt requirements/image.txt requirements/
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ python3-dev >/dev/null \
 && /opt/uv/bin/uv pip sync --quiet --python /opt/aisle/bin/python --require-hashes requirements/api.txt requirements/image.txt
COPY . .
RUN PYTHONPATH=. /opt/aisle/bin/python -m classifier.library /kernels


# --- One stage for each lock: packages first, because they change less often than the project.
FROM builder AS api-builder
COPY requirements/api.txt requirements/
RUN /opt/uv/bin/uv pip sync --quiet --python /opt/aisle/bin/python --require-hashes requirements/api.txt \
 && /opt/uv/bin/uv pip uninstall --quiet --python /opt/aisle/bin/python $NOT_IN_IMAGES \
 && deploy/docker/trim /opt/aisle/lib/python3.*/site-packages
COPY . .
COPY --from=kernels /kernels /kernels
# Bytecode of what the server loads, and of that alone: all of it would be 65 MB, none would cost seconds at every start.
RUN cp /kernels/* /opt/aisle/lib/python3.*/site-packages/ \
 && /opt/uv/bin/uv pip install --quiet --python /opt/aisle/bin/python --no-deps . \
 && cd /tmp && /opt/aisle/bin/aisle --help >/dev/null \
 && /opt/aisle/bin/python -c 'import aisle.commands.serving, api.api, api.serve, skops.io, uvicorn.lifespan.on, uvicorn.protocols.http.httptools_impl, uvloop'

FROM builder AS pipeline-builder
COPY requirements/pipeline.txt requirements/
RUN /opt/uv/bin/uv pip sync --quiet --python /opt/aisle/bin/python --require-hashes requirements/pipeline.txt \
 && /opt/uv/bin/uv pip uninstall --quiet --python /opt/aisle/bin/python $NOT_IN_IMAGES \
 && deploy/docker/trim /opt/aisle/lib/python3.*/site-packages
COPY . .
COPY --from=kernels /kernels /kernels
RUN cp /kernels/* /opt/aisle/lib/python3.*/site-packages/ \
 && /opt/uv/bin/uv pip install --quiet --python /opt/aisle/bin/python --no-deps . \
 && /opt/aisle/bin/python -m compileall -q -j 0 /opt/aisle/lib


# --- What both images run on: the base, a user, a home.
FROM ${BASE_IMAGE} AS runtime
RUN groupadd --gid 10001 aisle \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/aisle --no-create-home --shell /usr/sbin/nologin aisle \
 && install -d -o aisle -g aisle /var/lib/aisle
# HOME is the same folder: Prefect and others keep what is theirs below it. A server in a container answers from outside it:
# who reaches it is decided where its port is published (-p 127.0.0.1:8000:8000 is this machine alone). With AISLE_API_KEYS
# it answers those who have one.
ENV PATH=/opt/aisle/bin:$PATH \
    HOME=/var/lib/aisle \
    AISLE_HOME=/var/lib/aisle \
    AISLE_API_HOST=0.0.0.0 \
    AISLE_API_OPEN=true \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/aisle
VOLUME /var/lib/aisle
EXPOSE 8000
USER 10001:10001
ENTRYPOINT ["aisle"]


FROM runtime AS api
COPY --from=api-builder /opt/aisle /opt/aisle
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
CMD ["serve"]


# No health check: a batch run is healthy while it runs, and who serves from this image watches the port that they chose.
FROM runtime AS pipeline
COPY --from=pipeline-builder /opt/aisle /opt/aisle
CMD ["--help"]
