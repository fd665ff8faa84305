# deepscan from its wheel, without a build tool or the source in the image.
#
#     docker build --tag deepscan .
#     docker build --tag deepscan:cuda --build-arg VARIANT=cuda .
#
# VARIANT cpu is the scanner alone. cuda adds PyTorch, which published detectors need, and the CUDA libraries of
# ONNX Runtime; run it with --gpus all, and scan with --device cuda.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /source
COPY . .
RUN python -m pip install --no-cache-dir build \
    && python -m build --wheel --outdir /wheels

FROM python:${PYTHON}-slim
ARG VARIANT=cpu
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    set -e; \
    wheel=$(ls /wheels/deepscan_forensics-*.whl); \
    case "$VARIANT" in \
        cpu) set -- "$wheel" ;; \
        cuda) set -- "$wheel[torch]" "onnxruntime-gpu[cuda,cudnn]" ;; \
        *) echo "VARIANT is cpu or cuda, not $VARIANT" >&2; exit 2 ;; \
    esac; \
    python -m pip install --no-cache-dir "$@"
RUN useradd --create-home --uid 1000 deepscan
USER deepscan
WORKDIR /home/deepscan
ENTRYPOINT ["deepscan"]
CMD ["--help"]
