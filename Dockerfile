# deepscan from its wheel, without a build tool or the source in the image.
#
#     docker build --tag deepscan .
#     docker build --tag deepscan:cuda --build-arg VARIANT=cuda .
#     docker build --tag deepscan:store --build-arg EXTRAS=store .
#     docker build --tag deepscan:cluster --build-arg EXTRAS=cluster .
#
# VARIANT cpu is the scanner alone. cuda adds PyTorch, which published detectors need, and the CUDA libraries of
# ONNX Runtime; run it with --gpus all, and scan with --device cuda.
# EXTRAS store adds object stores, and cluster also Ray with its job server, and wget, by which Kubernetes checks
# Ray's pods. Both work with either VARIANT. See deploy/.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY . .
RUN python -m pip install --no-cache-dir build \
    && python -m build --wheel --outdir /wheels

FROM python:${PYTHON}-slim
ARG VARIANT=cpu
ARG EXTRAS=
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    set -e; \
    wheel=$(ls /wheels/deepscan_forensics-*.whl); \
    case "$VARIANT" in \
        cpu) extras="$EXTRAS"; set -- ;; \
        cuda) extras="torch${EXTRAS:+,$EXTRAS}"; set -- "onnxruntime-gpu[cuda,cudnn]" ;; \
        *) echo "VARIANT is cpu or cuda, not $VARIANT" >&2; exit 2 ;; \
    esac; \
    case "$EXTRAS" in \
        ""|store) ;; \
        cluster) \
            set -- "$@" "ray[default]"; \
            apt-get update; \
            apt-get install --yes --no-install-recommends wget; \
            rm -rf /var/lib/apt/lists/* ;; \
        *) echo "EXTRAS is store or cluster, not $EXTRAS" >&2; exit 2 ;; \
    esac; \
    set -- "$wheel${extras:+[$extras]}" "$@"; \
    python -m pip install --no-cache-dir "$@"
RUN useradd --create-home --uid 1000 deepscan
USER deepscan
WORKDIR /home/deepscan
ENTRYPOINT ["deepscan"]
CMD ["--help"]
