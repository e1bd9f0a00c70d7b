# Images of deepseek-operator; `make images` builds them with docker or buildah. Targets:
#   operator     the control plane, and `dsj`
#   runtime      the members of a job and the chart's store, with a CPU build of torch
#   runtime-gpu  the same with CUDA's torch and the C compiler that Triton needs at run time
#   etcd         Debian's, where members find one another
#
# Arguments
#   BASE_IMAGE      any Debian with python3 (3.11 or newer) and its venv module
#   NUMBA_CPU_NAME  the oldest processor that the kernels must run on (x86-64-v3: any since 2013; generic elsewhere)
# Context `wheels` (--build-context wheels=FOLDER): a folder with a CPU build of torch. Without it torch's own CPU builds
#   are tried; where these cannot be reached the package index's is taken, which brings CUDA (4 GB).
# Secrets (none ends up in an image): `pip`, a pip.conf; `ca`, the certificates of a mirror or a proxy.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM scratch AS wheels

FROM ${BASE_IMAGE} AS build
COPY images/build.lock /build/images/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi && \
    python3 -m venv /opt/build && \
    /opt/build/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes \
        -r /build/images/build.lock && \
    python3 -m venv --without-pip /opt/dsj
COPY images/install.sh /build/images/

FROM build AS package
COPY pyproject.toml README.md CHANGELOG.md LICENSE /build/
COPY operator /build/operator
COPY runtime /build/runtime
RUN cd /build && /opt/build/bin/hatchling build -t wheel -d /build/dist

FROM build AS operator-libraries
COPY images/operator.lock /build/images/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    /build/images/install.sh locked /build/images/operator.lock

FROM build AS runtime-libraries
COPY images/runtime.lock /build/images/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    /build/images/install.sh locked /build/images/runtime.lock
COPY requirements-torch.lock /build/

FROM operator-libraries AS operator-package
COPY --from=package /build/dist /build/dist
RUN /build/images/install.sh package

FROM runtime-libraries AS runtime-torch
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    --mount=type=bind,from=wheels,target=/wheels \
    WHEELS=/wheels /build/images/install.sh torch-cpu /build/requirements-torch.lock

FROM runtime-libraries AS runtime-gpu-torch
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    /build/images/install.sh torch-cuda /build/requirements-torch.lock

# Kernels are compiled for NUMBA_CPU_NAME, not for the processor that happens to build.
FROM runtime-torch AS runtime-package
ARG NUMBA_CPU_NAME=x86-64-v3
ENV NUMBA_CPU_NAME=${NUMBA_CPU_NAME} NUMBA_CPU_FEATURES=
COPY --from=package /build/dist /build/dist
RUN /build/images/install.sh package && /build/images/install.sh kernels

FROM runtime-gpu-torch AS runtime-gpu-package
ARG NUMBA_CPU_NAME=x86-64-v3
ENV NUMBA_CPU_NAME=${NUMBA_CPU_NAME} NUMBA_CPU_FEATURES=
COPY --from=package /build/dist /build/dist
RUN /build/images/install.sh package && /build/images/install.sh kernels

# A name and a home for the user, because some libraries ask for them.
FROM ${BASE_IMAGE} AS base
RUN echo 'dsj:x:65532:65532:deepseek-operator:/tmp:/usr/sbin/nologin' >> /etc/passwd && \
    echo 'dsj:x:65532:' >> /etc/group
ENV PATH=/opt/dsj/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
ENTRYPOINT []

FROM base AS etcd
RUN apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends etcd-server && \
    rm -rf /var/lib/apt/lists/*
USER 65532:65532
CMD ["etcd"]

# In the last three stages what changes with each commit comes last: one thin layer.
FROM base AS operator
COPY --from=operator-libraries /opt/dsj /opt/dsj
COPY --from=operator-package /opt/package/ /
USER 65532:65532
CMD ["python", "-m", "deepseek_operator"]

FROM base AS runtime
ARG NUMBA_CPU_NAME=x86-64-v3
ENV DSJ_KERNELS=/opt/dsj/kernels NUMBA_CACHE_DIR=/tmp/numba \
    NUMBA_CPU_NAME=${NUMBA_CPU_NAME} NUMBA_CPU_FEATURES=
COPY --from=runtime-torch /opt/dsj /opt/dsj
COPY --from=runtime-package /opt/package/ /
USER 65532:65532
CMD ["python", "-m", "deepseek_runtime.worker"]

FROM base AS runtime-gpu
RUN apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends gcc libc6-dev && \
    rm -rf /var/lib/apt/lists/*
ARG NUMBA_CPU_NAME=x86-64-v3
ENV DSJ_KERNELS=/opt/dsj/kernels NUMBA_CACHE_DIR=/tmp/numba TRITON_CACHE_DIR=/tmp/triton \
    NUMBA_CPU_NAME=${NUMBA_CPU_NAME} NUMBA_CPU_FEATURES= \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=runtime-gpu-torch /opt/dsj /opt/dsj
COPY --from=runtime-gpu-package /opt/package/ /
USER 65532:65532
CMD ["python", "-m", "deepseek_runtime.worker"]
