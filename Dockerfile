# digitd on a slim Debian, CPU only. Build: docker build -t digitd .
# Run: docker run -p 8001:8001 -p 8002:8002 -v digitd:/var/lib/digitd digitd
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# libtorch first: it changes with its script alone, the sources with every build.
COPY scripts/libtorch scripts/libtorch
RUN DIGITD_LIBTORCH=cpu scripts/libtorch
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /var/lib/digitd --create-home digitd
COPY --from=build /src/target/release/digitd /usr/local/bin/digitd
# Where build.rs lets an installed copy look: ../lib/digitd from the program.
COPY --from=build /src/.libtorch/lib/*.so* /usr/local/lib/digitd/
USER digitd
WORKDIR /var/lib/digitd
EXPOSE 8001 8002
ENTRYPOINT ["digitd"]
# Loopback is the default; in a container it would be out of reach.
CMD ["serve", "--grpc-addr", "0.0.0.0:8001", "--http-addr", "0.0.0.0:8002"]
