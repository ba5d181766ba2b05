//! `digitd demo`: a server, and everything that it does, once, on the screen.

mod pictures;

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::mpsc,
    time::{Duration, Instant},
};

use super::{
    Error, Outcome,
    host::{self, Host},
    output::{self, Depth, Ink, Style},
    serve::Signals,
    session::Session,
    watch::{Interrupt, follow},
};
use crate::{
    config::{self, Fetch, Flags, HttpAddr, Settings},
    data::{
        catalog::{MNIST, SYNTHETIC},
        fetch::{FetchConfig, fetch},
        mnist::{File, Part, locate},
    },
    pb::digitd::v1::{Dataset, EvaluateRequest, InspectRequest, ModelRef, TrainRequest, model_ref::Which},
    telemetry,
};

/// Show all of it: serve, train, evaluate, inspect, predict; then go on serving
///
/// Uses MNIST where it is found (--data-dir, data) or can be fetched within seconds, else the built-in
/// digits, and says which. Ends in a minute or two on two cores, then serves until Ctrl-C.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  digitd demo
  digitd demo --exit --dataset synthetic --epochs 1")]
pub struct Args {
    /// End after the demo, and do not go on serving
    #[arg(long)]
    exit: bool,

    /// The data set: mnist or synthetic [default: mnist where it is to be had]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,

    /// How often every training image is seen
    #[arg(long, value_name = "N", default_value_t = 5)]
    epochs: i32,

    /// Use only the first so many training images [default: all]
    #[arg(long, value_name = "N")]
    max_train_images: Option<i32>,

    #[command(flatten)]
    settings: Flags,
}

/// Where MNIST may lie beside the folder that the settings name.
const FOLDER: &str = "data";

/// Longest wait for the first bytes of a mirror: without a network the demo goes on at once.
const FIRST_BYTES: Duration = Duration::from_secs(6);

/// Longest wait for all of MNIST, 11 MB.
const WHOLE_FETCH: Duration = Duration::from_secs(60);

/// Ports that are tried where the first is taken.
const PORTS: u16 = 50;

pub async fn run(args: Args) -> Result<Outcome, Error> {
    let mut settings = config::load(&args.settings, config::variables())?;
    if args.settings.log_level.is_none() {
        settings.log.level = "warn".to_owned();
    }
    telemetry::start(settings.log.format, &settings.log.level)?;
    settings.data.fetch = Fetch::Never;
    let dataset = choose_dataset(&args, &settings).await?;

    let session = start(&mut settings).await?;
    let done = show(&args, &settings, &session, &dataset).await;
    let outcome = match done {
        Ok(Outcome::Done) if !args.exit => {
            say(&how_to_go_on(&settings, session.client.url()));
            Signals::new()?.next().await;
            Ok(Outcome::Done)
        }
        other => other,
    };
    let closed = session.close().await;
    let outcome = outcome?;
    closed.map(|()| outcome)
}

/// Everything that a server does, once.
async fn show(args: &Args, settings: &Settings, session: &Session, dataset: &str) -> Result<Outcome, Error> {
    heading("Train the tutorial's network");
    let request = TrainRequest {
        dataset: Some(Dataset {
            name: dataset.to_owned(),
            max_train_images: args.max_train_images,
            ..Default::default()
        }),
        epochs: Some(args.epochs),
        report_every_batches: Some(if Style::fitting() == Style::Bar { 10 } else { 100 }),
        set_alias: "production".to_owned(),
        ..Default::default()
    };
    let mut events = session.client.train(request).await?;
    let followed = follow(session, &mut events, Style::fitting(), Interrupt::CancelsRun).await?;
    let Some(version) = followed.finished.and_then(|finished| finished.version) else {
        return Ok(followed.outcome);
    };
    // Following the run took Ctrl-C over; from here on it ends the demo again.
    let mut signals = Signals::new()?;
    tokio::select! {
        studied = study(settings, session, dataset, version) => studied.map(|()| Outcome::Done),
        () = signals.next() => Ok(Outcome::Cancelled),
    }
}

/// What the trained version is and does.
async fn study(settings: &Settings, session: &Session, dataset: &str, version: i32) -> Result<(), Error> {
    let model = Some(ModelRef { name: String::new(), which: Some(Which::Version(version)) });
    let ink = Ink::of_stdout();

    heading("Evaluate it on test images");
    let request = EvaluateRequest { model: model.clone(), ..Default::default() };
    say(&output::evaluation(&session.client.evaluate(request).await?, ink));

    heading("Inspect it layer by layer");
    let request = InspectRequest {
        model: model.clone(),
        contents: true,
        layers: vec!["conv1".to_owned()],
        ..Default::default()
    };
    let answer = session.client.inspect(request).await?;
    say(&output::layer_table(&answer, ink));
    say("\n");
    say(&output::contents(&answer, Depth::OneKernel, ink));

    heading("Predict five test images");
    let catalog = host::catalog(settings, vec![FOLDER.into()]);
    say(&pictures::read_five(&session.client, catalog, dataset, model).await?);
    Ok(())
}

/// A server inside, at the first free ports from those of the settings.
async fn start(settings: &mut Settings) -> Result<Session, Error> {
    let asked = settings.server.grpc_addr;
    settings.server.grpc_addr = free(asked, None)?;
    if let Some(addr) = settings.server.http_addr.get() {
        settings.server.http_addr = HttpAddr::At(free(addr, Some(settings.server.grpc_addr.port()))?);
    }
    let catalog = host::catalog(settings, vec![FOLDER.into()]);
    let host = Host::with_catalog(settings, catalog).await?;
    if host.grpc_addr.port() != asked.port() && asked.port() != 0 {
        say(&format!("Port {} is taken; ", asked.port()));
    }
    say(&format!("serving gRPC at {}, keeping models in {}\n", host.grpc_addr, settings.store.url));
    Session::inside(host).await
}

/// The first address from `addr` on that nobody listens at.
fn free(addr: SocketAddr, but: Option<u16>) -> Result<SocketAddr, Error> {
    let mut refused = None;
    for port in addr.port()..=addr.port().saturating_add(PORTS) {
        let addr = SocketAddr::new(addr.ip(), port);
        if port != 0 && Some(port) == but {
            continue;
        }
        match TcpListener::bind(addr) {
            Ok(_) => return Ok(addr),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => refused = Some(error),
            Err(error) => return Err(Error::io("listen at", addr.to_string())(error)),
        }
    }
    let refused = refused.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(Error::io("find a free port from", addr.to_string())(refused))
}

/// MNIST where it is found or can be fetched within seconds, else the built-in digits.
async fn choose_dataset(args: &Args, settings: &Settings) -> Result<String, Error> {
    if let Some(name) = &args.dataset {
        return Ok(name.clone());
    }
    let mut folders = vec![settings.data.dir.clone()];
    folders.push(FOLDER.into());
    if let (Some([path, _]), Some(_)) = (locate(Part::Train, &folders), locate(Part::Test, &folders)) {
        let folder = path.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
        say(&format!("MNIST is in {folder}.\n"));
        return Ok(MNIST.to_owned());
    }
    say("MNIST is not on this machine; asking the mirrors for it ...\n");
    let folder = settings.data.dir.clone();
    let fetched = tokio::task::spawn_blocking(move || fetch_briefly(folder)).await;
    match fetched.map_err(|_| Error::Panicked("the download"))? {
        Ok(()) => {
            say(&format!("Fetched MNIST into {}.\n", settings.data.dir.display()));
            Ok(MNIST.to_owned())
        }
        Err(cause) => {
            tracing::info!(%cause, "MNIST could not be fetched");
            say("No mirror answers: using the built-in digits, data set `synthetic`.\n\
                 `digitd data fetch` asks with more patience and tells what is wrong.\n");
            Ok(SYNTHETIC.to_owned())
        }
    }
}

/// Fetches MNIST, and gives up soon where no bytes come.
fn fetch_briefly(folder: PathBuf) -> Result<(), String> {
    let mut config = FetchConfig::public(folder);
    config.connect_timeout = FIRST_BYTES / 3;
    config.read_timeout = FIRST_BYTES;
    let (sender, receiver) = mpsc::channel();
    // A thread of its own: a name that does not resolve may hold it for longer than anyone waits.
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
            Err(_) => return Err("no mirror answers".to_owned()),
        }
    }
}

fn how_to_go_on(settings: &Settings, url: &str) -> String {
    let addr = url.trim_start_matches("http://");
    let server = match addr.ends_with(":8001") {
        true => String::new(),
        false => format!(" --server {url}"),
    };
    format!(
        "\nServing on at {addr}, models in {}. Call it from another terminal:\n\n  \
         grpcurl -plaintext {addr} list\n  \
         grpcurl -plaintext -d '{{\"epochs\": 1}}' {addr} digitd.v1.TrainingService/Train\n  \
         grpcurl -plaintext {addr} digitd.v1.RegistryService/ListModels\n  \
         digitd runs list{server}\n\nCtrl-C ends it.\n",
        settings.store.url,
    )
}

fn heading(title: &str) {
    let line = format!("── {title} ");
    let rule = "─".repeat(78_usize.saturating_sub(line.chars().count()));
    say(&format!("\n{}\n", console::style(line + &rule).bold()));
}

fn say(text: &str) {
    super::print(text);
}
