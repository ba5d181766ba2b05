//! A connection for one command: to a server elsewhere, or to one that is started inside for it.

use std::path::PathBuf;

use clap::Args;

use super::{Error, host::Host, output::Ink};
use crate::{
    client::Client,
    config::{self, Flags, HttpAddr, PlaceFlags, Settings},
    telemetry,
};

/// Which server a command talks to, and how it answers.
#[derive(Debug, Clone, Args)]
pub struct SessionArgs {
    /// Print JSON, in the form that grpcurl has
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// The server to call [env: DIGITD_CLIENT_SERVER] [default: http://127.0.0.1:8001]
    #[arg(long, value_name = "URL", conflicts_with = "in_process", help_heading = "Server")]
    pub server: Option<String>,

    /// Call no server: start one inside for this command, on the same store
    #[arg(long, help_heading = "Server")]
    pub in_process: bool,

    /// TOML file of settings
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    pub config: Option<PathBuf>,

    #[command(flatten, next_help_heading = "With --in-process")]
    pub place: PlaceFlags,
}

/// An open connection.
pub struct Session {
    pub client: Client,
    host: Option<Host>,
}

impl SessionArgs {
    /// Connects, or starts the server inside and connects to it.
    pub async fn open(&self) -> Result<Session, Error> {
        let mut settings = self.settings()?;
        if !self.in_process {
            let url = self.server.as_ref().unwrap_or(&settings.client.server);
            return Ok(Session { client: Client::connect(url).await?, host: None });
        }
        telemetry::start(settings.log.format, INSIDE_LOG)?;
        settings.server.grpc_addr = ([127, 0, 0, 1], 0).into();
        settings.server.http_addr = HttpAddr::Off;
        Session::inside(Host::start(&settings).await?).await
    }

    /// The settings of this process, for a server inside and for data sets.
    pub fn settings(&self) -> Result<Settings, Error> {
        let flags = Flags { config: self.config.clone(), place: self.place.clone(), ..Flags::default() };
        Ok(config::load(&flags, config::variables())?)
    }

    /// Opens a connection, lets `work` use it, and closes it however that ends.
    pub async fn with<T>(&self, work: impl AsyncFnOnce(&Client) -> Result<T, Error>) -> Result<T, Error> {
        let session = self.open().await?;
        let done = work(&session.client).await;
        let closed = session.close().await;
        let done = done?;
        closed.map(|()| done)
    }

    /// Prints an answer: as JSON where that was asked for, else as `text` makes it.
    pub fn show(&self, name: &str, answer: &impl prost::Message, text: impl FnOnce(Ink) -> String) {
        super::print(&match self.json {
            true => super::json::text(name, answer) + "\n",
            false => text(Ink::of_stdout()),
        });
    }
}

impl Session {
    /// A connection to a server inside, which ends with it.
    pub async fn inside(host: Host) -> Result<Self, Error> {
        match Client::connect(&host.url()).await {
            Ok(client) => Ok(Self { client, host: Some(host) }),
            Err(error) => {
                host.stop().await?;
                Err(error.into())
            }
        }
    }

    /// Whether the server ends with this command.
    pub fn is_inside(&self) -> bool {
        self.host.is_some()
    }

    /// Takes down the server inside, where there is one.
    pub async fn close(self) -> Result<(), Error> {
        match self.host {
            Some(host) => host.stop().await,
            None => Ok(()),
        }
    }
}

/// A server inside tells only what goes wrong.
const INSIDE_LOG: &str = "warn";
