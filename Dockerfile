# Makes the report of the sample: docker build -t trajlib . && docker run --rm -v "$PWD/reports:/trajlib/reports" trajlib
# Written and linted; it was not built where this file was written.
FROM python:3.13-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends make git gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home analyst && mkdir /trajlib && chown analyst /trajlib
USER analyst
WORKDIR /trajlib

COPY --chown=analyst Makefile pyproject.toml requirements.lock README.md LICENSE ./
COPY --chown=analyst trajlib trajlib
COPY --chown=analyst notebooks notebooks
RUN make .venv/ready-python3

COPY --chown=analyst . .
CMD ["make", "report"]
