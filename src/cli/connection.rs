//! The connection of one command: to a server elsewhere, or to one embedded in this process.

use std::path::PathBuf;

use clap::Args;

use super::{embedded_server::EmbeddedServer, error::Error, terminal};
use crate::{
    config::{self, EngineFlags, Flags, HttpAddr, Settings},
    report::{json, text::Layout},
    telemetry,
};
use digitd_client::Client;

/// The server that a command calls, and the form of its output.
#[derive(Debug, Clone, Args)]
pub struct ConnectionArgs {
    /// Print JSON in the form of grpcurl
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// The server to call [env: DIGITD_CLIENT_SERVER] [default: http://127.0.0.1:8001]
    #[arg(long, value_name = "URL", conflicts_with = "in_process", help_heading = "Server")]
    pub server: Option<String>,

    /// Run a server inside this command on the same store, instead of calling one
    #[arg(long, help_heading = "Server")]
    pub in_process: bool,

    /// TOML file of settings
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    pub config: Option<PathBuf>,

    #[command(flatten, next_help_heading = "With --in-process")]
    pub engine: EngineFlags,
}

/// An open connection.
pub struct Connection {
    pub client: Client,
    embedded: Option<EmbeddedServer>,
}

impl ConnectionArgs {
    /// Connects, or starts an embedded server and connects to it.
    pub async fn open(&self) -> Result<Connection, Error> {
        let mut settings = self.settings()?;
        if !self.in_process {
            let url = self.server.as_ref().unwrap_or(&settings.client.server);
            return Ok(Connection { client: Client::connect(url).await?, embedded: None });
        }
        telemetry::start(settings.log.format, EMBEDDED_LOG_LEVEL)?;
        settings.server.grpc_addr = ([127, 0, 0, 1], 0).into();
        settings.server.http_addr = HttpAddr::Off;
        Connection::embedded(EmbeddedServer::start(&settings).await?).await
    }

    /// The settings of this process, for an embedded server and for data sets.
    pub fn settings(&self) -> Result<Settings, Error> {
        let flags = Flags { config: self.config.clone(), engine: self.engine.clone(), ..Flags::default() };
        Ok(config::load(&flags, config::variables())?)
    }

    /// Opens a connection, runs `work` with it, and closes it in any case.
    pub async fn with<T>(&self, work: impl AsyncFnOnce(&Client) -> Result<T, Error>) -> Result<T, Error> {
        let connection = self.open().await?;
        let result = work(&connection.client).await;
        let closed = connection.close().await;
        let result = result?;
        closed.map(|()| result)
    }

    /// Prints a response: as JSON where that was requested, else as `text` makes it.
    pub fn show(&self, name: &str, response: &impl prost::Message, text: impl FnOnce(Layout) -> String) {
        terminal::print(&match self.json {
            true => json::text(name, response) + "\n",
            false => text(terminal::layout()),
        });
    }
}

impl Connection {
    /// A connection to an embedded server, which stops with it.
    pub async fn embedded(server: EmbeddedServer) -> Result<Self, Error> {
        match Client::connect(&server.url()).await {
            Ok(client) => Ok(Self { client, embedded: Some(server) }),
            Err(error) => {
                server.stop().await?;
                Err(error.into())
            }
        }
    }

    /// Whether the server stops with this command.
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Stops the embedded server, where there is one.
    pub async fn close(self) -> Result<(), Error> {
        match self.embedded {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// An embedded server logs warnings and errors only.
const EMBEDDED_LOG_LEVEL: &str = "warn";
