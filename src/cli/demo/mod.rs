//! `digitd demo`: a server and what it can do, once, on the screen.

mod test_images;

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::mpsc,
    time::{Duration, Instant},
};

use super::{
    connection::Connection,
    embedded_server::{self, EmbeddedServer},
    error::Error,
    exit::ExitStatus,
    progress::ProgressFormat,
    signals::Signals,
    terminal::{self, print},
    watch::{OnInterrupt, follow},
};
use crate::{
    config::{self, Fetch, Flags, HttpAddr, Settings},
    data::{
        catalog::{MNIST, SYNTHETIC},
        fetch::{FetchConfig, fetch},
        mnist::{File, Subset, locate},
    },
    pb::digitd::v1::{Dataset, EvaluateRequest, InspectRequest, ModelRef, TrainRequest, model_ref::Which},
    report::text::{self, Depth},
    telemetry,
};

/// Show everything once: serve, train, evaluate, inspect, predict; then keep serving
///
/// Uses MNIST if it is found (--data-dir, data) or can be fetched within seconds, else the built-in
/// digits, and says which. Takes a minute or two on two cores, then serves until Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd demo
  digitd demo --exit --dataset synthetic --epochs 1")]
pub struct DemoArgs {
    /// Exit after the demo instead of continuing to serve
    #[arg(long)]
    exit: bool,

    /// The data set: mnist or synthetic [default: mnist if it is available]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,

    /// Number of epochs
    #[arg(long, value_name = "N", default_value_t = 5)]
    epochs: i32,

    /// Use only the first so many training images [default: all]
    #[arg(long, value_name = "N")]
    max_train_images: Option<i32>,

    #[command(flatten)]
    settings: Flags,
}

/// A folder that is searched for MNIST after the one in the settings.
const FOLDER: &str = "data";

/// Longest wait for the first bytes of a mirror, so that the demo goes on soon without a network.
const FIRST_BYTES: Duration = Duration::from_secs(6);

/// Longest wait for all of MNIST, 11 MB.
const WHOLE_FETCH: Duration = Duration::from_secs(60);

/// Ports that are tried where the first is in use.
const PORTS: u16 = 50;

pub async fn run(args: DemoArgs) -> Result<ExitStatus, Error> {
    let mut settings = config::load(&args.settings, config::variables())?;
    if args.settings.log_level.is_none() {
        settings.log.level = "warn".to_owned();
    }
    telemetry::start(settings.log.format, &settings.log.level)?;
    let dataset = choose_dataset(&args, &settings).await?;
    // What the demo could not fetch in time is not waited for later.
    settings.data.fetch = Fetch::Never;

    let connection = start(&mut settings).await?;
    let result = show(&args, &settings, &connection, &dataset).await;
    let result = match result {
        Ok(ExitStatus::Success) if !args.exit => {
            print(&next_steps(&settings, connection.client.url()));
            Signals::new()?.next().await;
            Ok(ExitStatus::Success)
        }
        other => other,
    };
    let closed = connection.close().await;
    let status = result?;
    closed.map(|()| status)
}

/// Trains, then evaluates, inspects and predicts.
async fn show(
    args: &DemoArgs,
    settings: &Settings,
    connection: &Connection,
    dataset: &str,
) -> Result<ExitStatus, Error> {
    let format = ProgressFormat::for_terminal();
    heading("Train the network of the tutorial");
    let request = TrainRequest {
        dataset: Some(Dataset {
            name: dataset.to_owned(),
            max_train_images: args.max_train_images,
            ..Default::default()
        }),
        epochs: Some(args.epochs),
        report_every_batches: Some(if format == ProgressFormat::Bar { 10 } else { 100 }),
        set_alias: "production".to_owned(),
        ..Default::default()
    };
    let mut events = connection.client.train(request).await?;
    let watched = follow(connection, &mut events, format, OnInterrupt::CancelRun).await?;
    let Some(version) = watched.finished.and_then(|finished| finished.version) else {
        return Ok(watched.status);
    };
    // Watching the run took over Ctrl-C; from here on it ends the demo again.
    let mut signals = Signals::new()?;
    tokio::select! {
        result = present(settings, connection, dataset, version) => result.map(|()| ExitStatus::Success),
        () = signals.next() => Ok(ExitStatus::Cancelled),
    }
}

/// Evaluates and inspects the trained version, and predicts with it.
async fn present(
    settings: &Settings,
    connection: &Connection,
    dataset: &str,
    version: i32,
) -> Result<(), Error> {
    let model = Some(ModelRef { name: String::new(), which: Some(Which::Version(version)) });
    let layout = terminal::layout();

    heading("Evaluate it on test images");
    let request = EvaluateRequest { model: model.clone(), ..Default::default() };
    print(&text::evaluation(&connection.client.evaluate(request).await?, layout));

    heading("Inspect it layer by layer");
    let request = InspectRequest {
        model: model.clone(),
        contents: true,
        layers: vec!["conv1".to_owned()],
        ..Default::default()
    };
    let response = connection.client.inspect(request).await?;
    print(&text::layer_table(&response, layout));
    print("\n");
    print(&text::contents(&response, Depth::OneKernel, layout));

    heading("Predict five test images");
    let catalog = embedded_server::catalog(settings, vec![FOLDER.into()]);
    print(&test_images::predict_five(&connection.client, catalog, dataset, model).await?);
    Ok(())
}

/// An embedded server, at the first free ports from those of the settings.
async fn start(settings: &mut Settings) -> Result<Connection, Error> {
    let requested = settings.server.grpc_addr;
    settings.server.grpc_addr = free(requested, None)?;
    if let Some(addr) = settings.server.http_addr.get() {
        settings.server.http_addr = HttpAddr::At(free(addr, Some(settings.server.grpc_addr.port()))?);
    }
    let catalog = embedded_server::catalog(settings, vec![FOLDER.into()]);
    let server = EmbeddedServer::with_catalog(settings, catalog).await?;
    if server.grpc_addr.port() != requested.port() && requested.port() != 0 {
        print(&format!("Port {} is in use; ", requested.port()));
    }
    print(&format!("serving gRPC at {}, keeping models in {}\n", server.grpc_addr, settings.store.url));
    Connection::embedded(server).await
}

/// The first address from `addr` on whose port is free and not `but`.
fn free(addr: SocketAddr, but: Option<u16>) -> Result<SocketAddr, Error> {
    let mut in_use = None;
    for port in addr.port()..=addr.port().saturating_add(PORTS) {
        let addr = SocketAddr::new(addr.ip(), port);
        if port != 0 && Some(port) == but {
            continue;
        }
        match TcpListener::bind(addr) {
            Ok(_) => return Ok(addr),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => in_use = Some(error),
            Err(error) => return Err(Error::io("listen at", addr.to_string())(error)),
        }
    }
    let error = in_use.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(Error::io("find a free port from", addr.to_string())(error))
}

/// MNIST where it is found or can be fetched within seconds, else the built-in digits.
async fn choose_dataset(args: &DemoArgs, settings: &Settings) -> Result<String, Error> {
    if let Some(name) = &args.dataset {
        return Ok(name.clone());
    }
    let mut folders = vec![settings.data.dir.clone()];
    folders.push(FOLDER.into());
    if let (Some([path, _]), Some(_)) = (locate(Subset::Train, &folders), locate(Subset::Test, &folders)) {
        let folder = path.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
        print(&format!("MNIST is in {folder}.\n"));
        return Ok(MNIST.to_owned());
    }
    if settings.data.fetch == Fetch::Never {
        print(
            "MNIST is not on this machine, and is not fetched: using the built-in digits, data set `synthetic`.\n",
        );
        return Ok(SYNTHETIC.to_owned());
    }
    print("MNIST is not on this machine; fetching it ...\n");
    let folder = settings.data.dir.clone();
    let fetched = tokio::task::spawn_blocking(move || fetch_briefly(folder)).await;
    match fetched.map_err(|_| Error::Panicked("the download"))? {
        Ok(()) => {
            print(&format!("Fetched MNIST into {}.\n", settings.data.dir.display()));
            Ok(MNIST.to_owned())
        }
        Err(cause) => {
            tracing::info!(%cause, "MNIST could not be fetched");
            print(
                "No mirror responds: using the built-in digits, data set `synthetic`.\n\
                 `digitd data fetch` waits longer and reports what is wrong.\n",
            );
            Ok(SYNTHETIC.to_owned())
        }
    }
}

/// Fetches MNIST, with short timeouts.
fn fetch_briefly(folder: PathBuf) -> Result<(), String> {
    let mut config = FetchConfig::public(folder);
    config.connect_timeout = FIRST_BYTES / 3;
    config.read_timeout = FIRST_BYTES;
    let (sender, receiver) = mpsc::channel();
    // It has a thread of its own, because resolving a name may block for longer than the timeouts.
    std::thread::spawn(move || {
        let progress = sender.clone();
        let done = fetch(&config, &File::ALL, &mut |_| {
            let _ = progress.send(None);
        });
        let _ = sender.send(Some(done.map_err(|error| error.to_string())));
    });
    let begin = Instant::now();
    let mut wait = FIRST_BYTES;
    loop {
        match receiver.recv_timeout(wait) {
            Ok(Some(done)) => return done,
            Ok(None) if begin.elapsed() > WHOLE_FETCH => return Err("the mirrors are slow".to_owned()),
            Ok(None) => wait = FIRST_BYTES,
            Err(_) => return Err("no mirror responds".to_owned()),
        }
    }
}

fn next_steps(settings: &Settings, url: &str) -> String {
    let addr = url.trim_start_matches("http://");
    let server = match addr.ends_with(":8001") {
        true => String::new(),
        false => format!(" --server {url}"),
    };
    format!(
        "\nServing at {addr}, models in {}. Call it from another terminal:\n\n  \
         grpcurl -plaintext {addr} list\n  \
         grpcurl -plaintext -d '{{\"epochs\": 1}}' {addr} digitd.v1.TrainingService/Train\n  \
         grpcurl -plaintext {addr} digitd.v1.RegistryService/ListModels\n  \
         digitd runs list{server}\n\nCtrl-C stops it.\n",
        settings.store.url,
    )
}

fn heading(title: &str) {
    let line = format!("── {title} ");
    let rule = "─".repeat(78_usize.saturating_sub(line.chars().count()));
    print(&format!("\n{}\n", console::style(line + &rule).bold()));
}
