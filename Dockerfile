# A release: the control plane, the worker and the command line, and nothing that builds or tests.
#
#   docker build --build-arg SERVO_BUILD_VERSION="$(.venv/bin/python scripts/_tag_version.py)" .
#
# Everything is installed by the hashes of requirements.lock, and Servo from the sources beside this
# file. The container writes below the project that is mounted and to /tmp only, so it may run with
# --read-only --tmpfs /tmp. It has no HEALTHCHECK: `servo dev`, `servo worker` and a command that
# ends are healthy in different ways, which whoever starts the container knows.
# scripts/_rehearse_image.py performs these lines without Docker; paths are named by ENV for that.

FROM python:3.11-slim AS build
ARG SERVO_BUILD_VERSION
ARG SERVO_EXTRAS=parquet,sql
ENV TARGET=/opt/servo BUILD=/opt/build PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src

# What changes least comes first: the layers of the dependencies outlive an edit of the sources.
COPY pyproject.toml requirements.lock ./
COPY scripts/_lock_subset.py scripts/
RUN python scripts/_lock_subset.py --packages hatchling,uv >build.txt \
 && python -m venv --without-pip "$BUILD" \
 && python -m pip --python "$BUILD/bin/python" install --require-hashes --no-deps -r build.txt
RUN python scripts/_lock_subset.py --extras "$SERVO_EXTRAS" >runtime.txt \
 && python -m venv --without-pip "$TARGET" \
 && "$BUILD/bin/uv" pip install --python "$TARGET/bin/python" --compile-bytecode \
    --require-hashes --no-deps -r runtime.txt

COPY README.md LICENSE ./
COPY scripts/_tag_version.py scripts/_build_hook.py scripts/
COPY examples/nycflights examples/nycflights
COPY src src
RUN : "${SERVO_BUILD_VERSION:?give the version: --build-arg SERVO_BUILD_VERSION=1.2.3}" \
 && "$BUILD/bin/python" -m hatchling build --target wheel --directory dist \
 && "$BUILD/bin/uv" pip install --python "$TARGET/bin/python" --compile-bytecode \
    --no-index --no-deps dist/*.whl

FROM python:3.11-slim
COPY --from=build /opt/servo /opt/servo
ENV PATH=/opt/servo/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# An image in which Servo does not work is not made.
RUN python -I -m servo.smoke
# A number needs no entry in /etc/passwd, and tells an orchestrator that it is not root.
USER 10001:10001
WORKDIR /project
ENTRYPOINT ["servo"]
CMD ["--help"]
