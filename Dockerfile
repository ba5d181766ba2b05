# digitd on a slim Debian, CPU only. Build: docker build -t digitd .
# Run: docker run -p 8001:8001 -p 8002:8002 -v digitd:/var/lib/digitd digitd
FROM rust:1.95.0-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# libtorch comes first: it changes with its script alone, the sources with every build.
COPY scripts/libtorch scripts/libtorch
RUN DIGITD_LIBTORCH=cpu scripts/libtorch
# The image gets the libraries without their symbols (93 MB of libtorch_cpu.so), and without libtorch.so, a linker
# script that only the build reads.
RUN mkdir /libtorch \
    && for library in .libtorch/lib/*.so*; do \
        case "$library" in */libtorch.so) continue ;; esac; \
        strip --strip-unneeded -o "/libtorch/${library##*/}" "$library" || exit 1; \
    done
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/digitd --create-home digitd
COPY --from=build /src/target/release/digitd /usr/local/bin/digitd
# build.rs lets an installed program look for its libraries in ../lib/digitd.
COPY --from=build /libtorch/ /usr/local/lib/digitd/
# By number: Kubernetes cannot tell whether a name is root, and refuses it where runAsNonRoot is set.
USER 10001
WORKDIR /var/lib/digitd
EXPOSE 8001 8002
ENTRYPOINT ["digitd"]
# Loopback is the default; from outside the container it could not be reached.
CMD ["serve", "--grpc-addr", "0.0.0.0:8001", "--http-addr", "0.0.0.0:8002"]
